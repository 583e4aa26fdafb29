"""Telegram as a door for alerts: a bot in the provider's channel, read by long polling."""
