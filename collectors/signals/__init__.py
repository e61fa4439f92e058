"""What the signals mean: names, units, readings. Does no I/O and reads no clock."""
