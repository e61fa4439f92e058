"""Facts in, judgements out. Knows no user interface."""
