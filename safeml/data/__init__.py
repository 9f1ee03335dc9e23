"""Labelled images and their loaders: one file per format, one row in `load`. numpy and Pillow only."""
