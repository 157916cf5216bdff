"""A page in the browser on which the trained models answer: ``tfcamp demo``."""
