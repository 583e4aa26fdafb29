"""The times of accounts, hosts and sources that are corrected after the clock was set back."""

from common.db.stored_times import LEASE_SECONDS, StoredTimes

# Leases first: reconciliations that began before a lane was acquired are void.
TIMES = (
    StoredTimes(
        "connections_lanelease",
        "lane",
        past=("acquired_at",),
        bounded={"until": LEASE_SECONDS},
    ),
    StoredTimes(
        "connections_connectionhealth",
        "connection_id",
        past=(
            "last_error_at", "last_tested_at", "last_connected_at", "last_used_at",
            "test_requested_at", "failing_since", "unreachable_at", "errored_at",
            "inactivity_alerted_at", "monitored_since", "reconciled_at",
        ),
        due={"read_after": 0.0, "circuit_open_until": 0.0},
    ),
    StoredTimes(
        "connections_hostcircuit", "host", past=("opened_at", "closed_at"), due={"probe_at": 0.0}
    ),
    StoredTimes(
        "connections_accountsnapshot",
        "connection_id",
        past=("read_at", "limits_checked_for", "limits_checked_at", "funding_tried_at"),
    ),
    StoredTimes(
        "connections_epoch",
        "number",
        past=("opened_at",),
        kept={"answer_by": "opened_at"},
        where="released_at IS NULL",
    ),
    StoredTimes("connections_instrumentbook", "book", past=("read_at", "requested_at")),
    StoredTimes(
        "connections_cashflowread",
        "connection_id",
        past=("read_at", "missing_since"),
        due={"retry_at": 0.0},
    ),
    StoredTimes("connections_sourcehealth", "source_id", past=("last_contact_at", "failing_since")),
)  # fmt: skip
