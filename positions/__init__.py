"""What is open: positions, their profit and loss, and the levels that matter."""
