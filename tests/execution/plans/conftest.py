"""One live order beside many finished ones of the same account, written once for these files."""

from collections.abc import Iterator
from typing import Any

import pytest

from common.db.sql import run
from connections.models import ExecutionConnection
from execution import tasks
from execution.dispatch import deferred_reports
from execution.models import Order
from signals.models import Feed
from tests.execution import factories
from tests.execution.query_plans import (
    account_with_signal,
    add_earlier_trades,
    undone_at_the_end,
)

FINISHED = 8_000  # among fewer, to read all of an index costs hardly more than to seek in two


@pytest.fixture(scope="package")
def pile(django_db_setup: None, django_db_blocker: Any) -> Iterator[ExecutionConnection]:
    with undone_at_the_end(django_db_blocker), pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "enqueue", lambda *_, **__: None)
        patch.setattr(deferred_reports, "deferred_queue", deferred_reports.DeferredReportQueue())
        account, feed = account_with_signal()
        factories.claim_all()
        add_earlier_trades(account, feed, FINISHED)
        # Earlier tests have left empty pages in some of the indexes, and the planner prefers all
        # of a small index to one row of a large one. REINDEX makes their sizes those of their rows.
        run("REINDEX TABLE execution_order")
        run("REINDEX TABLE positions_executionposition")
        run("ANALYZE execution_order, positions_executionposition, signals_signal")
        yield account


@pytest.fixture
def alice(pile: ExecutionConnection, db: None) -> ExecutionConnection:
    return ExecutionConnection.objects.get(pk=pile.pk)


@pytest.fixture
def feed(alice: ExecutionConnection) -> Feed:
    return alice.subscriptions.get().feed


@pytest.fixture
def live_order(alice: ExecutionConnection) -> Order:
    return Order.objects.get(status="SUBMITTING")
