"""Several actors that close one position at the same time: it must be closed exactly once.

Our own stop, the broker's stop, the owner and a CLOSE signal each try to close it, and the kill
switch may halt them. Nothing may be reversed, and a second position that the broker nets with it
must keep its quantity.
"""

from decimal import Decimal as D
from itertools import permutations, product

import pytest

from brokers.types import ExitSafety
from common.db.sql import rows
from connections.models import AccountSnapshot, ExecutionConnection
from execution.models import Order
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import close_position
from positions.models import ExecutionPosition
from tests.connections import make
from tests.examples import DRAWS_OTHERS
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.model import ExecutionModel

# Each is a method of Race.
EVENTS = ("engine_stop", "manual_close", "close_signal", "broker_stop")


class Race:
    """A position that every event tries to close, and one that none may close.

    late: the worker writes the broker's replies only at the end, not after each event.
    """

    def __init__(self, model: ExecutionModel, *, late: bool) -> None:
        self.model, self.late = model, late
        self.worker = model.processes[0]
        self.closing_signal = factories.signal(model.feed, [("1.12", "1")])
        self.kept_signal = factories.signal(model.feed, sl=D("1.05"))
        self._claim_and_send()
        self._apply_reports()
        model.sweep("guard")  # reports how far each position is protected
        model.sweep("drain")

    def run(self, event: str) -> None:
        """Let an event happen; the worker sends the orders that it caused."""
        getattr(self, event)()
        self._claim_and_send()
        if not self.late:
            self._apply_reports()

    def engine_stop(self) -> None:
        """The price falls below the stop: the level monitor writes an exit."""
        factories.quote(self.model.accounts[0], "1.08000")
        self.model.sweep("watch")
        for seconds in (3.5, 0, 0):
            self.model.sweep("guard")
            self.model.pass_time(seconds)

    def manual_close(self) -> None:
        """The owner closes the position on its page."""
        position = ExecutionPosition.objects.get(signal=self.closing_signal)
        self.model.request(close_position, position.pk)

    def close_signal(self) -> None:
        """The provider publishes a CLOSE."""
        self.model.follow_up(self.closing_signal, "close")

    def broker_stop(self) -> None:
        """The broker executes the stop that it holds for this position, if it holds one."""
        held = self.model.tickets(working=False)
        entry = Order.objects.get(signal=self.closing_signal, leg="entry")
        tickets = [n for n, t in enumerate(held) if t.request.order_id == entry.pk]
        if tickets and held[tickets[0]].request.stop_loss is not None:
            self.model.broker_does(tickets[0], "sl")

    def _claim_and_send(self) -> None:
        for _ in range(2):  # again for orders that waited for a cancel or a level change
            self.model.claim(self.worker, slice(None))
            while self.worker.claimed:
                self.model.send(self.worker, 0, "fill")
            self.model.sweep("guard")
            self.model.pass_time(1.1)

    def _apply_reports(self) -> None:
        self.model.write_reports(self.worker, False, False)
        self.model.sweep("drain")

    def check(self) -> None:
        """Let everything end, then compare what was opened with what was closed."""
        self.model.settle()
        self.model.check_settled()
        closed = ExecutionPosition.objects.get(signal=self.closing_signal)
        kept = ExecutionPosition.objects.get(signal=self.kept_signal)
        assert (closed.quantity, kept.quantity) == (0, 100)
        (exits,) = rows(
            "SELECT coalesce(sum(f.quantity), 0) AS closed_quantity FROM execution_fill f"
            " JOIN execution_order o ON o.id = f.order_id WHERE o.position_id = %s",
            (closed.pk,),
        )
        assert exits.closed_quantity == closed.opened_quantity == 100


@pytest.fixture
def account(
    transactional_db: None, runtime: TradingRuntime, broker: FakeBroker
) -> ExecutionConnection:
    factories.instrument()
    return factories.account(make.feed(), settings={"native_stops": True})


def run_races(
    account: ExecutionConnection, broker: FakeBroker, safety: ExitSafety | None, mode: str
) -> None:
    """Run all 24 orders, each with immediate and with late replies.

    `make test` runs every ninth one. safety, mode: of the account's exits and positions; without
    a safety they are closed by ticket.
    """
    AccountSnapshot.objects.update(position_mode=mode)
    feed = account.subscriptions.get().feed
    races = list(product(permutations(EVENTS), (False, True)))
    for number, (events, late) in enumerate(races if DRAWS_OTHERS else races[::9]):
        model = ExecutionModel(broker, [account], feed, safety=safety, netting=mode == "NETTING")
        race = Race(model, late=late)
        halted_at = number % (len(events) + 3)  # before each event in turn; past the last: never
        for index, event in enumerate(events):
            if index == halted_at:
                model.halt("HALTED")
            race.run(event)
        race.check()
