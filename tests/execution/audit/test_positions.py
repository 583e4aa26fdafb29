"""The audit: orphans, ghosts, reversed and unprotected positions."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from brokers.broker_books import BrokerBooks
from brokers.types import CloseCause
from common.clocks import market_now
from common.db.sql import run
from connections.models import ExecutionConnection
from execution.audit.counters import audit
from execution.models import DriftItem, Order
from execution.services import close_position
from positions.models import ExecutionPosition
from signals.models import Signal
from tests.execution import factories
from tests.execution.audit.checks import entry, nonzero_counters
from tests.execution.fake_broker import FakeBroker
from tests.execution.fake_broker_book import Ticket

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("signal")]


def test_unknown_order_with_our_tag_is_an_orphan(signal: Signal, broker: FakeBroker) -> None:
    request = broker.tickets[0].request
    broker.receive(replace(request, client_order_id="devx00000000000000"))
    assert nonzero_counters() == {"ORPHAN": 1}
    assert nonzero_counters(signal.pk) == {}


def position_without_a_row(broker: FakeBroker, client_order_id: str) -> Ticket:
    """Return a position at the broker that has no row here."""
    ticket = broker.receive(replace(broker.tickets[0].request, client_order_id=client_order_id))
    broker.execute(ticket)
    return ticket


def test_unknown_position_with_our_tag_is_an_orphan(
    signal: Signal, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker keeps the position and no longer the order."""
    lost = position_without_a_row(broker, "devx0000000000000")
    position_without_a_row(broker, "byhand")  # the owner's own
    monkeypatch.setattr(broker, "journal", without_orders(broker))
    assert nonzero_counters() == {"ORPHAN": 1}
    assert audit().examples["ORPHAN"] == [
        f"position {lost.number} on connection {lost.request.connection_id}"
    ]
    assert nonzero_counters(signal.pk) == {}


def test_position_closed_here_is_an_orphan_once_nothing_is_in_flight(
    alice: ExecutionConnection,
) -> None:
    positions = ExecutionPosition.objects.filter(connection=alice)
    run("UPDATE execution_fill SET quantity = 0.01")  # another counter; only ORPHAN is of interest
    positions.update(quantity=0)
    Order.objects.filter(connection=alice).update(done_at=None)
    positions.update(last_activity_at=market_now() - timedelta(minutes=1))
    assert "ORPHAN" not in nonzero_counters()  # its entry is under way
    an_hour_ago = market_now() - timedelta(hours=1)
    Order.objects.filter(connection=alice).update(done_at=an_hour_ago)
    assert nonzero_counters()["ORPHAN"] == 1
    positions.update(last_activity_at=market_now() + timedelta(minutes=1))
    assert "ORPHAN" not in nonzero_counters()  # it has just changed


def without_orders(broker: FakeBroker) -> Callable[[str], Awaitable[BrokerBooks]]:
    async def journal(id_prefix: str) -> BrokerBooks:
        return replace(await FakeBroker.journal(broker, id_prefix), accepted=())

    return journal


@pytest.mark.parametrize("kind", ["UNKNOWN_ORDER", "FORGOTTEN_ORDER"])
def test_decided_orphan_is_not_counted(kind: str, broker: FakeBroker) -> None:
    request = replace(broker.tickets[0].request, client_order_id="devx00000000000000")
    broker.receive(request)
    item = DriftItem.objects.create(
        kind=kind, connection_id=request.connection_id, key=request.client_order_id
    )
    assert nonzero_counters() == {"ORPHAN": 1}  # reported and not decided
    DriftItem.objects.filter(pk=item.pk).update(state="IGNORED", decision="IGNORE")
    assert nonzero_counters() == {}


def test_position_missing_at_the_broker_is_a_ghost(broker: FakeBroker) -> None:
    broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, broker.tickets[0].held)
    assert nonzero_counters() == {"GHOST": 1}


def test_closing_or_just_changed_position_is_no_ghost(
    broker: FakeBroker, alice: ExecutionConnection
) -> None:
    (lot,) = (t for t in broker.tickets if t.request.connection_id == str(alice.pk))
    broker.close_at_broker(lot, CloseCause.EXTERNAL, lot.held)
    positions = ExecutionPosition.objects.filter(connection=alice)
    close_position(positions.get().pk)
    factories.claim_all()
    assert nonzero_counters() == {}
    Order.objects.exits().delete()
    assert nonzero_counters() == {"GHOST": 1}
    positions.update(last_activity_at=market_now() + timedelta(minutes=1))
    assert nonzero_counters() == {}


def test_position_reversed_by_our_fills_is_counted(alice: ExecutionConnection) -> None:
    position = ExecutionPosition.objects.get(connection=alice)
    run(
        "UPDATE execution_order SET position_id = %s, leg = 'close-1' WHERE id = %s",
        (position.pk, entry(alice).pk),
    )
    assert nonzero_counters()["REVERSED"] == 1


def test_position_reversed_at_the_broker_is_counted(broker: FakeBroker) -> None:
    lot = broker.tickets[0]
    lot.request = replace(lot.request, side=lot.request.side.opposite)
    assert nonzero_counters() == {"REVERSED": 1}


def test_unprotected_position_is_counted(alice: ExecutionConnection) -> None:
    positions = ExecutionPosition.objects.filter(connection=alice)
    positions.update(sl_guardian="")
    assert nonzero_counters() == {}
    factories.pass_time(6)
    assert nonzero_counters() == {"NAKED": 1}
    positions.update(sl_guardian="BROKER")
    assert nonzero_counters() == {"NAKED": 1}
    positions.update(sl_guardian="BROKER", broker_sl=1)
    assert nonzero_counters() == {}
