"""Repair of what was left: due, orphaned, stale and unknown orders."""
