"""Feeds and signals: how they come in, are approved and published."""
