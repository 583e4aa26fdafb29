"""Signing in: passwords, second factors, sessions, limits on guessing."""
