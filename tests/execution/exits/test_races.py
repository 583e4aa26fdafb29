"""Several actors close one position at the same time; it must be closed exactly once.

Our own stop, the broker's stop, the owner and a CLOSE signal each try to close it, and the kill
switch may halt them. Nothing may be reversed, and a second position that the broker nets with it
must keep its quantity. Tested in every order of events, with immediate and with late replies, on
accounts of each kind of exit safety (`brokers.types.ExitSafety`).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal as D
from functools import partial
from itertools import permutations, product
from threading import Barrier

import pytest
from django.db import connection

from brokers.base import Rejected
from brokers.types import ExitSafety, Quote
from common.clocks import market_now
from common.sql import rows
from connections.models import AccountSnapshot, ExecutionConnection
from execution.models import Order
from execution.monitoring import broker_positions
from execution.monitoring.level_monitor import scan_levels
from execution.monitoring.tick_monitor import TickMonitor
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import close_position
from execution.submission.claim import claim
from positions.models import ExecutionPosition
from tests.connections import make
from tests.examples import DRAWS_OTHERS
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.model import ExecutionModel
from tests.execution.netting_model import NettingModel

# Each is a method of Race.
EVENTS = ("engine_stop", "manual_close", "close_signal", "broker_stop")
# Exit safety and position mode. None: a hedging account, closed by ticket.
ACCOUNTS = [
    (None, "HEDGING"),
    (ExitSafety.TICKET, "NETTING"),
    (ExitSafety.REDUCE_ONLY, "NETTING"),
    (ExitSafety.REDUCE_ONLY, "HEDGING"),
    (ExitSafety.OCA, "NETTING"),
    (ExitSafety.CANCEL_FIRST, "NETTING"),
    (ExitSafety.CANCEL_FIRST, "HEDGING"),
]
ACCOUNT_IDS = [f"{safety or ExitSafety.TICKET}-{mode}" for safety, mode in ACCOUNTS]


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


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("safety", "mode"), ACCOUNTS, ids=ACCOUNT_IDS)
def test_position_is_closed_once_in_every_order_of_events(
    account: ExecutionConnection, broker: FakeBroker, safety: ExitSafety | None, mode: str
) -> None:
    """All 24 orders, each with immediate and with late replies; every ninth one in `make test`."""
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


@pytest.mark.django_db(transaction=True)
def test_concurrent_threads_close_a_position_once(
    account: ExecutionConnection, broker: FakeBroker
) -> None:
    """Ticks, minute scan, manual closes, CLOSE and claims, each with its own connection."""
    AccountSnapshot.objects.update(position_mode="NETTING")  # so that the engine guards levels
    broker.nets = NettingModel(ExitSafety.TICKET, netting=True)
    feed = account.subscriptions.get().feed
    for _ in range(8):
        closing_signal, kept_signal = factories.signal(feed), factories.signal(feed, sl=D("1.05"))
        factories.fill_all()
        position = ExecutionPosition.objects.get(signal=closing_signal)
        factories.quote(account, "1.08500")
        below_stop = Quote("EUR/USD", D("1.08500"), D("1.08510"), market_now())
        assert account.data_connection_id
        source = account.data_connection_id
        actors: list[Callable[[], object]] = [
            partial(close_position, position.pk),
            partial(close_position, position.pk, fraction=D("0.5")),
            partial(factories.close_signal, closing_signal),
            partial(TickMonitor().process_quotes, source, [below_stop]),
            scan_levels,
        ]
        run_at_once(actors)
        run_at_once([claim_and_fill] * 3)
        settle()
        position.refresh_from_db()
        assert (position.quantity, position.reserved) == (0, 0)
        assert ExecutionPosition.objects.get(signal=kept_signal).quantity == 100
        factories.quote(account)
    assert (broker.nets.reversed, broker.nets.stolen) == ([], [])


def run_at_once(actors: Sequence[Callable[[], object]]) -> None:
    """Run them in threads that start together; a failure in one fails the test."""
    start = Barrier(len(actors))

    def run(actor: Callable[[], object]) -> None:
        start.wait(60)
        try:
            actor()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(actors)) as pool:
        for future in [pool.submit(run, actor) for actor in actors]:
            future.result(60)


def claim_and_fill() -> None:
    """Claim what is due, fill it at the broker and write the outcomes, as a worker does."""
    for outgoing in claim(factories.pending(), worker_id=factories.OWNER).outgoing:
        try:
            factories.answer(outgoing, factories.fake_broker().fill_at_once(outgoing.request))
        except Rejected as rejection:
            factories.answer(outgoing, rejection)


def settle() -> None:
    """Repeat what workers do periodically, until no exit is left to be made."""
    for _ in range(8):
        broker_positions.refresh()
        scan_levels()
        claim_and_fill()
        factories.pass_time(2)
