"""The times of orders, reads and processes that are corrected after the clock was set back.

Leases keep their whole length: the process that holds one counts by a clock that cannot be set.
"""

from common.db.stored_times import LEASE_SECONDS, StoredTimes
from execution.base.statements import ALL_PENDING_SQL, LIVE_SQL, OPEN_CHANGE_SQL
from positions.joins import OPEN_IDS_SQL

CLAIM_SECONDS = 60.0
STREAM_LEASE_SECONDS = 15.0

TIMES = (
    StoredTimes(
        "execution_workerlease", past=("started_at",), bounded={"lease_until": LEASE_SECONDS}
    ),
    StoredTimes(
        "execution_streamlease",
        "broker_type",
        past=("began_at", "drained_at"),
        bounded={"lease_until": STREAM_LEASE_SECONDS},
    ),
    # An answer is not overdue, and an absence no proof, before the same time has passed.
    StoredTimes(
        "execution_order",
        past=("enqueued_at", "waiting_since", "pending_action_since", "submitted_at"),
        due={"lookup_after": CLAIM_SECONDS, "lookup_claimed_until": CLAIM_SECONDS},
        kept={"answer_by": "submitted_at"},
        where=f"({ALL_PENDING_SQL} OR status IN {LIVE_SQL} OR pending_action <> ''"
        " OR lookup_after IS NOT NULL)",
    ),
    # A due order is judged again by all that it waits for, but a later slice has its planned time.
    StoredTimes(
        "execution_order",
        past=("created_at",),
        due={"due_at": 0.0},
        where=f"{ALL_PENDING_SQL} AND leg NOT LIKE 'entry-%'",
    ),
    StoredTimes("execution_order", due={"due_at": 0.0}, where="pending_action <> ''"),
    # An exit that was refused is repeated some time after its end.
    StoredTimes(
        "execution_order",
        past=("done_at",),
        where=f"position_id = ANY(ARRAY({OPEN_IDS_SQL}))",
    ),
    StoredTimes(
        "execution_entrychange",
        "order_id",
        past=("requested_at", "sent_at"),
        due={"due_at": 0.0},
        kept={"answer_by": "sent_at"},
        where=f"state IN {OPEN_CHANGE_SQL}",
    ),
    StoredTimes(
        "execution_accountsyncstate",
        "connection_id",
        past=(
            "fills_failing_since", "poll_began_at", "stream_since", "reconcile_requested_at",
            "compared_at",
        ),
        due={"poll_after": 0.0, "woken_at": 0.0},
    ),
    StoredTimes(
        "execution_brokerlisting",
        "connection_id",
        past=("requested_at", "began_at", "failed_at"),
        due={"claimed_until": CLAIM_SECONDS},
    ),
    StoredTimes("execution_driftitem", past=("found_at", "seen_at"), where="state = 'OPEN'"),
    StoredTimes("execution_levelmonitorheartbeat", "source_id", past=("last_evaluated_at",)),
    StoredTimes("execution_levelscanheartbeat", past=("scanned_at", "scheduled_at", "alerted_at")),
    StoredTimes("execution_watchdogping", past=("checked_at", "pinged_at", "error_since")),
    StoredTimes(
        "execution_outcomecheck", "signal_id", past=("created_at",), due={"due_at": 0.0}
    ),
    StoredTimes("execution_pricepeak", past=("began_at",)),
)  # fmt: skip
