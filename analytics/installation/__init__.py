"""How well the whole installation executes: figures of each day, kept for pages of any range."""
