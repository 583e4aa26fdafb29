"""Whether an account's money is virtual: paper accounts, and those of which their broker says so.

What was read with other credentials or settings does not count: they may lead to a live account
now. A change of them requests a test, which reads the account again.
"""

from connections.models import AccountSnapshot, ConnectionHealth, ExecutionConnection


def is_demo(
    connection: ExecutionConnection,
    snapshot: AccountSnapshot | None,
    health: ConnectionHealth | None,
) -> bool:
    """Return what `joins.IS_DEMO_SQL` says. snapshot, health: its own; None: it has none."""
    if connection.type == "paper":
        return True
    if snapshot is None or health is None or health.needs_test or not snapshot.demo:
        return False
    return health.last_tested_at is None or snapshot.read_at >= health.last_tested_at
