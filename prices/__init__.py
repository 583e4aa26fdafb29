"""Quotes in: where prices come from, the latest of each symbol, and what they are worth."""
