"""Daily results and execution quality, set-based, reading the rooms below."""
