"""Tiny, a broker of this example: a line of JSON asks, a line of JSON answers."""
