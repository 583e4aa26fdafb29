"""Comparing our rows with what the broker holds, and resolving each difference."""
