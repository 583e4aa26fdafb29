"""The times of alerts and bots that are corrected after the clock was set back."""

from common.stored_times import StoredTimes

BOT_LEASE_SECONDS = 40.0

TIMES = (
    StoredTimes(
        "signals_incomingalert",
        past=("received_at",),
        ahead={"due_at": 0.0},
        where="state = 'WAITING'",
    ),
    StoredTimes(
        "signals_telegrambot",
        past=("contact_at", "update_at", "error_at"),
        ahead={"lease_until": BOT_LEASE_SECONDS, "due_at": 0.0},
    ),
)
