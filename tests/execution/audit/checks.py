from connections.models import ExecutionConnection
from execution.audit.counters import audit
from execution.models import Order

ZERO = dict.fromkeys(
    ("MISSING", "EXTRA", "LOST", "DUP", "ORPHAN", "GHOST", "LIMBO", "LATE", "MISMATCH",
     "REVERSED", "RISEN", "NAKED"), 0
)  # fmt: skip


def nonzero_counters(signal_id: int | None = None) -> dict[str, int]:
    """Return the counters that are not 0."""
    return {name: n for name, n in audit(signal_id).counters.items() if n}


def entry(of: ExecutionConnection) -> Order:
    return Order.objects.get(connection=of, leg="entry")
