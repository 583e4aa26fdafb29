"""Feeds and signals: intake, approval, publication."""
