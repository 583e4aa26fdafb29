"""Actions at the broker and checks of their outcome, for tests of decisions."""

from dataclasses import replace
from decimal import Decimal as D

from connections.models import ExecutionConnection
from execution.audit.counters import audit
from execution.models import DriftItem
from execution.monitoring import broker_positions
from execution.reconciliation.reconcile import reconcile
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.fake_broker_book import Ticket

TAGGED = "abcdefghijklmn0"


def foreign_position(broker: FakeBroker, cid: str = "by hand", **fields: object) -> Ticket:
    """A foreign position of 50 EUR/USD on the same account."""
    known = broker.tickets[0].request
    ticket = broker.receive(replace(known, client_order_id=cid, quantity=D(50), **fields))  # type: ignore[arg-type]
    broker.execute(ticket)
    return ticket


def drift_item(kind: str) -> DriftItem:
    reconcile()
    return DriftItem.objects.get(kind=kind)


def tag(broker: FakeBroker) -> str:
    return broker.tickets[0].request.client_order_id[:3] + TAGGED


def send_exits(broker: FakeBroker) -> None:
    """Positions that share a broker position wait for the broker's report first."""
    for _ in range(2):
        for outgoing in factories.claim_all():
            factories.answer(outgoing, broker.fill_at_once(outgoing.request))
        broker_positions.refresh()
        factories.pass_time(1.1)


def assert_settled(broker: FakeBroker) -> None:
    """Assert the final state: both sides agree, no drift item is open, the audit is clean."""
    factories.pass_time(6)
    assert reconcile() == 0
    assert not DriftItem.objects.filter(state="OPEN").exists()
    report = audit()
    assert {name: n for name, n in report.counters.items() if n} == {}


def allow_auto_correction() -> None:
    ExecutionConnection.objects.update(auto_correct=True)
