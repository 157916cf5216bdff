"""multi30k dataset."""
