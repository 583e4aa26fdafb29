"""Telegram as a source for alerts: a bot in the provider's channel, read by long polling."""
