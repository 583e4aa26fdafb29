"""`manage.py reconcile`: compare what we hold with what the brokers hold, now."""

import time
from typing import Any, NamedTuple
from uuid import UUID

from django.core.management.base import CommandError, CommandParser

from common.clocks import machine_time
from common.db.sql import Query, array, rows
from common.process.commands import HelpedCommand, read_seconds
from common.web.formatting import sentence
from connections.models import ExecutionConnection
from connections.selectors import connection_join_sql, find_connection
from execution.base.reconciliation_requests import request_reconciliation
from execution.models import AccountSyncState, DriftItem
from execution.tasks import enqueue_reconciliation_on_commit

HELP = """\
Compare what we hold with what the brokers hold, now: positions, orders and executions.

This also happens automatically every five minutes and after each (re)connect. The command requests
it from the trading processes, waits for them, and shows the open differences. It needs a running
worker, since only trading processes can call brokers.

  manage.py reconcile                      all connections
  manage.py reconcile --connection ID      one connection, by its id, name or account

Exit code: 0 compared, no differences; 1 there are differences; 2 not compared in time."""


class LateConnection(NamedTuple):
    """A connection that was not compared in time."""

    name: str
    status: str | None


LATE = Query(
    LateConnection,
    f"""
SELECT c.name, h.status FROM execution_accountsyncstate r
{connection_join_sql("r.connection_id")}
LEFT JOIN connections_connectionhealth h ON h.connection_id = c.id
WHERE r.reconcile_requested_at IS NOT NULL AND c.id = ANY(%s::uuid[]) ORDER BY c.name
""",
)
POLL_SECONDS = 0.2


class Command(HelpedCommand):
    """`manage.py reconcile`."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--connection", metavar="ID", help="only this connection")
        parser.add_argument(
            "--wait",
            type=read_seconds,
            default=60,
            metavar="SECONDS",
            help="how long to wait; default: 60",
        )

    def handle(self, *, connection: str | None, wait: float, **_: Any) -> None:
        ids = [_connection_id(connection)] if connection else _all_ids()
        request_reconciliation(ids)
        enqueue_reconciliation_on_commit()
        late = _wait_for(ids, wait)
        for row in late:
            self.stderr.write(f"not compared: {row.name} ({(row.status or 'untested').lower()})")
        items = DriftItem.objects.filter(connection_id__in=ids, state="OPEN")
        for item in items.select_related("connection").order_by("connection__name", "id"):
            self.stdout.write(
                f"{item.connection.name}: {sentence(item.kind)} {item.key} (drift {item.pk})"
            )
        self.stdout.write(f"{len(ids) - len(late)} compared, {items.count()} open differences")
        if late:
            raise SystemExit(2)
        if items:
            raise SystemExit(1)


def _all_ids() -> list[UUID]:
    """Return all connections that have been tested; untested ones cannot be compared."""
    connections = ExecutionConnection.objects.live().exclude(health__status="UNTESTED")
    return list(connections.values_list("pk", flat=True))


def _connection_id(text: str) -> UUID:
    try:
        return find_connection(text)
    except LookupError as error:
        raise CommandError(str(error)) from error


def _wait_for(ids: list[UUID], seconds: float) -> list[LateConnection]:
    """Wait until all were compared or the time is over; return those not compared."""
    deadline = machine_time() + seconds
    while AccountSyncState.objects.filter(
        connection_id__in=ids, reconcile_requested_at__isnull=False
    ).exists():
        if machine_time() > deadline:
            break
        time.sleep(POLL_SECONDS)
    return rows(LATE, (array(ids),))
