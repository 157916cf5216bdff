"""From trained models to what serves them."""
