"""Clean accuracy, its weakest groups, and the cost of mistakes."""
