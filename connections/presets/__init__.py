"""Presets: sizing and limits that accounts share."""
