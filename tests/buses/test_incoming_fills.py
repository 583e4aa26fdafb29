"""Fills that a foreign connector reports by a bus: applied as an adapter's, or kept."""

from __future__ import annotations

import json
from decimal import Decimal as D
from typing import Any

import pytest

from buses.incoming import fills
from buses.incoming.intake import PATIENT_TRIES, Answer, Message, take
from buses.incoming.models import BusMessage, BusRoute, MessageState
from buses.incoming.routes import add_route
from common.db.sql import database_now
from common.errors import InvalidInputError, NotAllowedError
from common.permissions import Role
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.dispatch.report_writer import NotApplied
from execution.models import Fill, Order
from execution.services import close_position
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.kept_rows import kept_rows
from tests.roles import staff
from users.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("inline_commits", "alice")]
SUBJECT = "mt5.fills.terminal7"


def _entry(alice: ExecutionConnection) -> Order:
    """An order for 100 EUR/USD in flight, without reports."""
    factories.signal(Feed.objects.get())
    factories.claim_all()
    return Order.objects.get()


entry = kept_rows(_entry, on="_alice")


@pytest.fixture
def operator(db: None) -> User:
    return staff(Role.OPERATOR, name="olga")


@pytest.fixture
def route(alice: ExecutionConnection, operator: User) -> BusRoute:
    return add_route(SUBJECT, account=alice, by=operator)


def fill(fill_id: str = "D-1", quantity: str = "100", **more: Any) -> dict[str, Any]:
    usual = {
        "fill_id": fill_id, "quantity": quantity, "price": "1.1001",
        "time": "2026-11-30T12:00:00Z", "commission": "0.07", "commission_currency": "USD",
    }  # fmt: skip
    return usual | more


def message(order: Order, message_id: str = "m-1", **fields: Any) -> Message:
    """Return the report that an order filled, with changes; None leaves a field out."""
    usual = {
        "kind": "FILLED", "client_order_id": order.client_order_id, "broker_order_id": "77",
        "broker_position_id": "P-7", "symbol": order.symbol, "side": "BUY", "fills": [fill()],
    }  # fmt: skip
    values = {name: value for name, value in (usual | fields).items() if value is not None}
    return Message(
        bus="nats://bus/IN", message_id=message_id, subject=SUBJECT,
        body=json.dumps(values).encode(), stored_at=database_now(),
    )  # fmt: skip


def dead() -> tuple[str, str]:
    row = BusMessage.objects.dead().get()
    return row.code, row.detail


def test_fill_opens_the_position(route: BusRoute, entry: Order) -> None:
    assert take(message(entry)) is Answer.ACK
    entry.refresh_from_db()
    assert (entry.status, entry.filled_quantity, entry.broker_order_id) == ("FILLED", 100, "77")
    stored = Fill.objects.get()
    assert (stored.broker_fill_id, stored.price, stored.commission) == (
        "D-1",
        D("1.1001"),
        D("0.07"),
    )
    assert ExecutionPosition.objects.get().quantity == 100
    assert BusMessage.objects.get().state == MessageState.DONE


def test_fill_that_the_adapter_reports_too_counts_once(route: BusRoute, entry: Order) -> None:
    factories.apply(factories.fill_report(entry, 100, "D-1", broker_position_id="P-7"))
    take(message(entry))
    take(message(entry, "m-2"))
    assert Fill.objects.count() == 1
    assert ExecutionPosition.objects.get().quantity == 100


def test_parts_in_any_order_add_up(route: BusRoute, entry: Order) -> None:
    take(message(entry, "m-2", fills=[fill("D-2", "60")]))
    take(message(entry, "m-1", fills=[fill("D-1", "40")]))
    take(message(entry, "m-2", fills=[fill("D-2", "60")]))
    entry.refresh_from_db()
    assert (entry.status, entry.filled_quantity) == ("FILLED", 100)


def test_rejection_ends_the_order(route: BusRoute, entry: Order) -> None:
    take(message(entry, kind="REJECTED", fills=None, detail="no money"))
    entry.refresh_from_db()
    assert (entry.status, entry.reason) == ("REJECTED", Code.REJECTED_BY_BROKER)


def test_unknown_order_is_a_dead_letter(route: BusRoute, entry: Order) -> None:
    take(message(entry, client_order_id="tstaaaaaaaaaaaaaa0"))
    assert dead()[0] == Code.REPORTED_ORDER_UNKNOWN
    assert not Fill.objects.exists()


def test_order_of_another_account_is_a_dead_letter(
    feed: Feed, entry: Order, operator: User
) -> None:
    other = factories.account()
    add_route(SUBJECT, account=other, by=operator)
    take(message(entry))
    assert dead()[0] == Code.REPORTED_ORDER_UNKNOWN
    assert not Fill.objects.exists()


@pytest.mark.parametrize(
    ("fields", "code", "part"),
    [
        ({"kind": "UNKNOWN"}, Code.FIELD_INVALID, "kind: "),
        ({"kind": "NOT_SENT"}, Code.FIELD_INVALID, "kind: "),
        ({"kind": None}, Code.FIELD_REQUIRED, "kind: "),
        ({"client_order_id": None}, Code.FIELD_REQUIRED, "client_order_id: "),
        ({"fills": None}, Code.FIELD_REQUIRED, "fills: "),
        ({"fills": []}, Code.FIELD_INVALID, "fills: "),
        ({"fills": [fill(quantity="0")]}, Code.NUMBER_NOT_POSITIVE, "fills.0.quantity: "),
        ({"fills": [fill(quantity="1e9")]}, Code.NUMBER_MALFORMED, "fills.0.quantity: "),
        ({"fills": [fill(quantity="101")]}, Code.FIELD_INVALID, "more than the order's 100"),
        ({"fills": [fill(time="2026-11-30T12:00:00")]}, Code.FIELD_INVALID, "fills.0.time: "),
        ({"fills": [fill(fill_id="x" * 101)]}, Code.FIELD_INVALID, "fills.0.fill_id: "),
        ({"fills": [fill(lots="1")]}, Code.FIELD_UNKNOWN, "fills.0.lots: "),
        ({"kind": "ACCEPTED"}, Code.FIELD_INVALID, "fills: "),
        ({"side": "SELL"}, Code.FIELD_INVALID, "side: "),
        ({"symbol": "GBPUSD"}, Code.FIELD_INVALID, "symbol: "),
    ],
)
def test_report_with_errors_is_a_dead_letter(
    route: BusRoute, entry: Order, fields: dict[str, Any], code: Code, part: str
) -> None:
    assert take(message(entry, **fields)) is Answer.ACK
    found, detail = dead()
    assert found == code
    assert part in detail
    assert not Fill.objects.exists()


def test_exit_waits_for_the_entrys_fill(
    route: BusRoute, entry: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.apply(factories.fill_report(entry, 100, "f1", broker_position_id="P-7"))
    [order_id] = close_position(ExecutionPosition.objects.get().pk)
    factories.claim_all()
    exit_ = Order.objects.get(pk=order_id)
    report = message(exit_, side="SELL", fills=[fill("D-9")])
    with monkeypatch.context() as patched:
        patched.setattr(
            fills, "apply_with_bisection", lambda reports, **_: NotApplied(deferred=list(reports))
        )
        assert take(report) is Answer.RETRY
    assert not BusMessage.objects.exists()
    assert take(report) is Answer.ACK
    assert ExecutionPosition.objects.get().quantity == 0
    assert PATIENT_TRIES > 1


def test_signal_subject_of_an_account_applies_nothing(
    alice: ExecutionConnection, operator: User
) -> None:
    with pytest.raises(InvalidInputError):
        add_route("signals.approved.x", account=alice, by=operator)


def test_owner_of_the_account_may_not_let_fills_in(alice: ExecutionConnection) -> None:
    assert alice.user
    with pytest.raises(NotAllowedError):
        add_route(SUBJECT, account=alice, by=alice.user)
