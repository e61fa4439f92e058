"""Tests mirror the folders; `python -m tests.golden` and `python -m tests.bench` live here too."""
