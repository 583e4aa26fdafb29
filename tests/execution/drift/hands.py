"""What tests of decisions do at the broker, and how they look at what came of it."""

from dataclasses import replace
from decimal import Decimal as D

from connections.models import ExecutionConnection
from execution.audit.counters import audit
from execution.drift.reconcile import reconcile
from execution.exits import holdings
from execution.models import DriftItem
from tests.execution import cast
from tests.execution.book import Ticket
from tests.execution.double import Double

TAGGED = "abcdefghijklmn0"


def stranger(broker: Double, cid: str = "by hand", **fields: object) -> Ticket:
    """Somebody else's position of 50 EUR/USD on the same account."""
    known = broker.tickets[0].request
    ticket = broker.receive(replace(known, client_order_id=cid, quantity=D(50), **fields))  # type: ignore[arg-type]
    broker.execute(ticket)
    return ticket


def found(kind: str) -> DriftItem:
    reconcile()
    return DriftItem.objects.get(kind=kind)


def tag(broker: Double) -> str:
    return broker.tickets[0].request.client_order_id[:3] + TAGGED


def send_exits(broker: Double) -> None:
    """Those that share a position at the broker wait for its word first."""
    for _ in range(2):
        for outgoing in cast.claim_all():
            cast.answer(outgoing, broker.fill_at_once(outgoing.request))
        holdings.look()
        cast.pass_time(1.1)


def settled(broker: Double) -> None:
    """After everything: both sides agree, nothing is open in the inbox, the audit is clean."""
    cast.pass_time(6)
    assert reconcile() == 0
    assert not DriftItem.objects.filter(state="OPEN").exists()
    report = audit()
    assert {name: n for name, n in report.counters.items() if n} == {}


def allow() -> None:
    ExecutionConnection.objects.update(auto_correct=True)
