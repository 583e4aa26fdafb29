"""Proof that nothing is missing and nothing happened twice: counters that must be 0."""
