"""Exit orders: what they reserve, when they are safe, and the levels that a signal has now."""
