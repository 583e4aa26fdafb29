"""A signal of long ago: filled on one account; on the others it ended without a fill."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from pytest_django import Settings

from brokers.types import OrderRequest, ReportKind
from common.db.sql import run
from connections.models import ExecutionConnection
from execution import services
from execution.models import Order
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.execution import factories
from tests.kept_rows import kept_rows
from tests.operational import set_setting

DAYS_AGO = 500


@dataclass(frozen=True)
class Past:
    """One entry has filled, and its position is closed. The other ones never traded."""

    signal: Signal
    filled: Order
    skipped: Order
    denied: Order
    rejected: Order
    request: OrderRequest  # of the rejected one

    @property
    def traded(self) -> list[int]:
        """The filled entry and its exit."""
        return [self.filled.pk, Order.objects.exits().get().pk]

    @property
    def without_fill(self) -> list[int]:
        return sorted([self.skipped.pk, self.denied.pk, self.rejected.pk])


@pytest.fixture
def folder(tmp_path: Path, settings: Settings) -> Path:
    """The archive's folder, and a policy that archives what the past has."""
    settings.FILLCAST_VAR = tmp_path
    set_setting("retention.order_days", 400)
    return tmp_path / "archive"


def go_back(days: int = DAYS_AGO) -> None:
    """Let this time pass since all that is stored, the accounts and subscriptions included."""
    by = timedelta(days=days)
    run("UPDATE connections_executionconnection SET created_at = created_at - %s", (by,))
    run("UPDATE connections_subscriptioninterval SET started_at = started_at - %s", (by,))
    factories.pass_time(by.total_seconds())


def entry(of: ExecutionConnection, signal: Signal) -> Order:
    return Order.objects.get(connection=of, signal=signal, leg="entry")


def _past(alice: ExecutionConnection) -> Past:
    feed = Feed.objects.get()
    paused = factories.account(feed, is_paused=True)
    denied = factories.account(feed, preset_max_quantity=1)
    rejected = factories.account(feed)
    signal = factories.signal(feed)
    sent = {one.request.connection_id: one.request for one in factories.claim_all()}
    factories.apply(
        factories.fill_report(entry(alice, signal), 100, "f1"),
        factories.report(entry(rejected, signal), ReportKind.REJECTED),
    )
    [closing] = services.close_position(ExecutionPosition.objects.get().pk)
    factories.claim_all()
    factories.apply(factories.fill_report(Order.objects.get(pk=closing), 100, "f2"))
    run("UPDATE execution_executionlog SET at = at - %s", (timedelta(days=DAYS_AGO),))
    go_back()
    orders = [entry(one, signal) for one in (alice, paused, denied, rejected)]
    return Past(
        Signal.objects.get(pk=signal.pk), orders[0], orders[1], orders[2], orders[3],
        sent[str(rejected.pk)],
    )  # fmt: skip


past = kept_rows(_past, on="_alice")
