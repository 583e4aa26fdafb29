"""How many statements each page of the console sends: few, whatever it shows.

`make bench ONLY=pages` counts the same pages with a million orders, and times them. Statements of
`common.db.sql` count as those of the ORM do.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from benchmarks.console_pages import MOST_QUERIES, PAGES, compute_execution, shown
from common.db.sql import run
from common.permissions import Role
from connections.models import ExecutionConnection, HaltMode, LaneLease
from connections.services import set_kill_switch
from execution.models import ArchivedOrder, Order
from signals.models import Signal
from tests.loss_limits import limit_of, pause_of
from tests.matrix import WALK_TIME, Walk
from tests.roles import staff
from tests.statements import sent_statements
from users.models import User

Rows = dict[str, Any]


def sent_by(client: Client, address: str) -> tuple[int, list[str]]:
    """Open a page as the web process does; return its status and the statements that it sent."""
    run("SET ROLE fillcast_web")
    with sent_statements() as sent:
        answer: Any = client.get(address)
        b"".join(answer.streaming_content) if answer.streaming else answer.content
    run("RESET ROLE")
    return answer.status_code, sent


def listed(sent: Sequence[str]) -> str:
    """Return how each of a page's statements begins, for a failure."""
    begins = "".join(f"\n    {' '.join(text.split())[:80]}" for text in sent)
    return f"{len(sent)} statements, {MOST_QUERIES} at most:{begins}"


def limit_all(account: ExecutionConnection) -> None:
    """Give an account all that its page reads more for: a lane, limits, a pause, an end."""
    limit_of(account.preset)
    limit_of(account.preset, measure="REALIZED_LOSS", maximum=60)
    pause_of(account)
    ExecutionConnection.objects.filter(pk=account.pk).update(is_active=False, lane="mt5.fc-1")
    LaneLease.objects.create(
        lane="mt5.fc-1", owner="fc-1", acquired_at=timezone.now(),
        until=timezone.now() + timedelta(hours=1),
    )  # fmt: skip


def archive_one_of(signal: Signal) -> None:
    """Let a signal of the dashboard be so old that the archive has a row of it."""
    done = timezone.now() - timedelta(days=400)
    Signal.objects.filter(pk=signal.pk).update(published_at=done)
    order = Order.objects.filter(signal=signal, status="SKIPPED").earliest("pk")
    ArchivedOrder.objects.create(
        id=order.pk, signal=signal, connection=order.connection, status=order.status,
        pair=order.pair, side=order.side, order_type=order.order_type, created_at=done,
        done_at=done,
    )  # fmt: skip
    order.delete()


@pytest.fixture
def readers(world: Rows) -> dict[str, User]:
    """Return who reads: a superuser, as the benchmark, and who has a role, which is read as well.

    The rows are those that pages send most statements for.
    """
    compute_execution()
    limit_all(ExecutionConnection.objects.get(pk=shown()["account"]))
    archive_one_of(world["signal"])
    set_kill_switch(scope="ALL", mode=HaltMode.REDUCING, reason="test", by=world["operator"])
    return {"superuser": world["operator"], "operator": staff(Role.OPERATOR)}


@WALK_TIME
def test_pages_send_few_statements(readers: dict[str, User]) -> None:
    own = shown()
    with Walk() as walk:
        for name, reader in readers.items():
            client = Client()
            client.force_login(reader)
            for page in walk.each(PAGES):
                with walk.cell(page, name) as cell:
                    address = page.format(**own)
                    status, sent = sent_by(client, address)
                    if len(sent) > MOST_QUERIES:  # some is read once in a process
                        status, sent = sent_by(client, address)
                    cell.expect(200, status)
                    if len(sent) > MOST_QUERIES:
                        cell.note(listed(sent))
