"""Images with what is known about them, and their loaders: one file a format, one row in `load`. numpy and Pillow only."""
