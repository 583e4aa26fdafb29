"""The times of sinks that are corrected after the clock was set back."""

from common.db.stored_times import StoredTimes

LEASE_SECONDS = 60.0  # as in buses/drain.py

TIMES = (
    StoredTimes(
        "buses_bussink",
        past=("read_to", "last_success_at", "last_error_at"),
        due={"retry_at": 0.0},
        bounded={"lease_until": LEASE_SECONDS},
    ),
    StoredTimes("buses_buslane", past=("created_at", "polled_at", "last_error_at")),
)
