"""Privacy: membership inference."""
