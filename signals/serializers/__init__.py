"""Signals and feeds as the API takes and returns them."""
