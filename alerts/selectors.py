"""What jobs ask of alerts and bots."""

from common.db.sql import periodic_rows


def any_bot_listens() -> bool:
    """Return whether a Telegram bot of any feed is not paused: for a job that asks often."""
    return bool(periodic_rows("SELECT id FROM alerts_telegrambot WHERE NOT is_paused LIMIT 1"))
