"""Prefix doctor: where prompts that should agree part, why, what it costs and what mends it. Pure."""
