"""The search for better options of a project."""
