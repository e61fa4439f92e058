"""The outside world turned into batches of facts. One file a source, ignorant of each other."""
