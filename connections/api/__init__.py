"""The REST API of connections, presets, subscriptions and the kill switch."""
