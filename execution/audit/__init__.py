"""Is everyone accounted for? The counters that must be 0, and what was dropped."""
