"""Execution quality: of entries, and of a signal against all who traded it."""
