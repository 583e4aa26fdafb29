"""Periodic repair of due, orphaned, stale and unknown orders."""
