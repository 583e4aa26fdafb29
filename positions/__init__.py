"""Positions, their profit and loss, and their levels."""
