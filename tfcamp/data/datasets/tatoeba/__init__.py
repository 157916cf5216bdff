"""tatoeba dataset."""
