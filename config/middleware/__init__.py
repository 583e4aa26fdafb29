"""Middleware of the web process, in the order of config/settings.py."""
