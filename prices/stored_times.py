"""The time of the latest quotes that is corrected after the clock was set back."""

from common.db.stored_times import StoredTimes

# A quote that would count as fresh until the clock has caught up is a stale one a minute later.
TIMES = (StoredTimes("prices_latestquote", past=("received_at",)),)
