"""Connections, presets, subscriptions and the kill switch over HTTP."""
