"""Class balance, and leakage between splits."""
