"""Reconciliation: compares our rows with what the broker holds and resolves the differences."""
