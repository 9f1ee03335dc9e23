"""The training as its manifest records it."""
