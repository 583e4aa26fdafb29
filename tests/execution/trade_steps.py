"""One trade of an account, step by step: what the provider, the market, a person and the broker do.

`trade = Trade(account, feed)`, then for example

    trade.open(("1.11", "1"), filled=40)
    target = trade.hit("1.115")
    trade.fill(target)
    trade.fill_rest(60)
    assert trade.shown == (60, D("1.11"))
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal as D
from typing import Any

from brokers.types import OrderReport, ReportKind
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.models import Order
from execution.monitoring.level_monitor import scan_levels
from execution.services import close_position
from execution.submission.outgoing import Outgoing
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.execution import factories
from tests.execution.fake_broker_book import Ticket

Target = tuple[str, str]  # price and fraction
CALM = "1.10000"


def modify_targets(signal: Signal, targets: Sequence[Target]) -> None:
    """The provider names other targets."""
    factories.signal(signal.feed, targets, action="MODIFY", refers_to=signal, sl=None)


def reject(outgoing: Outgoing) -> Order:
    order = Order.objects.get(client_order_id=outgoing.request.client_order_id)
    factories.apply(factories.report(order, ReportKind.REJECTED, code=Code.REJECTED_BY_BROKER))
    return order


def fill(outgoing: Outgoing) -> None:
    factories.answer(outgoing, factories.fake_broker().fill_at_once(outgoing.request))


@dataclass
class Trade:
    account: ExecutionConnection
    feed: Feed
    entry: Ticket | None = None  # at the broker, if it is filled in parts

    def open(self, *targets: Target, filled: int | None = None, **fields: Any) -> Signal:
        """Publish a buy of 100 with these targets; all of it fills, or only so much."""
        signal = factories.signal(self.feed, targets, **fields)
        if filled is None:
            factories.fill_all()
        else:
            self.fill_entry(filled)
        return signal

    def fill_entry(self, quantity: int) -> None:
        [outgoing] = factories.claim_all()
        self.entry = factories.fake_broker().receive(outgoing.request)
        factories.answer(outgoing, [factories.fake_broker().execute(self.entry, D(quantity))])

    def fill_rest(self, quantity: int) -> None:
        """The entry goes on to fill."""
        assert self.entry
        executed = factories.fake_broker().execute(self.entry, D(quantity))
        factories.apply(replace(executed, event_id="rest"))

    def price(self, bid: str = CALM) -> list[int]:
        """The market is there; return the exits that levels have made due."""
        factories.quote(self.account, bid)
        return scan_levels()

    def hit(self, bid: str = "1.11500") -> Outgoing:
        """The market reaches a level; return the exit that is sent."""
        self.price(bid)
        return self.sent()

    def hit_and_fill(self, bid: str = "1.11500") -> None:
        self.price(bid)
        factories.fill_all()

    def close_by_hand(self, fraction: str) -> Outgoing:
        """A person closes a part; return the exit that is sent."""
        close_position(self.position.pk, fraction=D(fraction))
        return self.sent()

    def sent(self) -> Outgoing:
        [outgoing] = factories.claim_all()
        return outgoing

    def correct(self, executed: OrderReport, quantity: int) -> None:
        """The broker corrects a fill: it was less."""
        [fill] = executed.fills
        corrected = replace(fill, quantity=D(quantity), revision=1)
        factories.apply(replace(executed, fills=(corrected,), event_id="bust"))

    @property
    def position(self) -> ExecutionPosition:
        return ExecutionPosition.objects.get()

    @property
    def shown(self) -> tuple[Any, Any]:
        """Quantity and target."""
        return self.position.quantity, self.position.tp


def execute(outgoing: Outgoing) -> OrderReport:
    """The broker fills a call wholly; return what it reported."""
    broker = factories.fake_broker()
    executed = broker.execute(broker.receive(outgoing.request), outgoing.request.quantity)
    factories.answer(outgoing, [executed])
    return executed
