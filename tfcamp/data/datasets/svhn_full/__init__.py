"""svhn_full dataset."""
