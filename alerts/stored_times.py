"""The times of alerts and bots that are corrected after the clock was set back."""

from common.db.stored_times import StoredTimes

BOT_LEASE_SECONDS = 40.0

TIMES = (
    StoredTimes(
        "alerts_incomingalert",
        past=("received_at",),
        due={"due_at": 0.0},
        kept={"entry_until": "received_at", "expires_at": "received_at"},
        where="state = 'WAITING'",
    ),
    StoredTimes(
        "alerts_telegrambot",
        past=("contact_at", "update_at", "error_at"),
        bounded={"lease_until": BOT_LEASE_SECONDS},
        due={"due_at": 0.0},
    ),
)
