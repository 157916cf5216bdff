"""The embedded samples, written for this project."""
