"""thucnews dataset."""
