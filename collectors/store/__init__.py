"""Keeps facts in Delta tables and computes readings from them."""
