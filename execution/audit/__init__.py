"""The audit: counters that must be 0 prove that nothing is missing or happened twice."""
