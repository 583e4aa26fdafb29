"""What the audit finds at TWS; the process of the session reads the account for it."""

import json
from contextlib import suppress
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from connections.models import ExecutionConnection
from execution.ids import new_client_order_id
from execution.models import BrokerListing, Order
from signals.models import Feed
from tests.execution import factories
from tests.execution.brisk_jobs import brisk_jobs
from tests.execution.trading_process import until
from tests.fakes.tws.server_process import TwsProcess
from tests.ibkr.test_engine import alice, engine, feed, tws

__all__ = ["alice", "brisk_jobs", "engine", "feed", "tws"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("alice")]


def audited() -> dict[str, Any]:
    """Return the audit's last line; the process of the session reads the account for it."""
    out = StringIO()
    with suppress(SystemExit):
        call_command("audit", "--json", stdout=out)
    found: dict[str, Any] = json.loads(out.getvalue().splitlines()[-1])
    return found


def test_order_executed_twice_is_dup_in_the_audit(feed: Feed, tws: TwsProcess) -> None:
    """The cache keeps one record per reference; IBKR's order ids distinguish two orders."""
    factories.signal(feed)
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    found = audited()
    assert (found["counters"]["DUP"], found["judged"], found["not_judged"]) == (0, 1, [])
    order = Order.objects.get()
    tws.do("execute_again", order.client_order_id)
    BrokerListing.objects.update(began_at=None)  # else it is not read again for half a minute
    found = audited()
    assert found["examples"]["DUP"] == [f"order {order.pk}, accepted 2 times"]


def test_unknown_ibkr_order_is_orphan_in_the_audit(
    alice: ExecutionConnection, feed: Feed, tws: TwsProcess, settings: Any
) -> None:
    factories.signal(feed)
    until(lambda: Order.objects.filter(leg="entry", status="FILLED").exists())
    lost = new_client_order_id(settings.FILLCAST_INSTALLATION_TAG)
    tws.do("execute_again", Order.objects.get().client_order_id, lost)
    assert audited()["examples"]["ORPHAN"] == [f"{lost} on connection {alice.pk}"]
