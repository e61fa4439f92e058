"""Drills as this console starts them: which there are, how one is started, and its process afterwards."""
