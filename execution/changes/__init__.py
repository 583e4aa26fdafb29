"""Changes of entries that have not filled, and of the levels of positions, at a request."""
