"""One module for each kind of evidence; each detector looks at a scene and says what it finds."""
