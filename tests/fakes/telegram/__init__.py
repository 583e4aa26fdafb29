"""A double of Telegram's Bot API, at the level of HTTP."""
