"""The times of the outbox that are corrected after the clock was set back."""

from common.db.stored_times import StoredTimes

TIMES = (
    StoredTimes("events_event", past=("created_at",), where="routed_at IS NULL"),
    StoredTimes("events_channel", past=("last_sent_at",), due={"backoff_until": 0.0}),
    StoredTimes(
        "events_delivery",
        past=("released_at",),
        due={"due_at": 0.0},
        where="status = 'PENDING'",
    ),
)
