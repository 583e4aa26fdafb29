"""A subscription and its paper twin side by side."""
