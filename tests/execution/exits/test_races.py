"""Engine stop, broker stop, an owner's close, a CLOSE and the kill switch race for one position.

In every order, with immediate and with late replies, at accounts that close
by ticket, only reduce, group or cancel first: closed once, nothing reversed, and the
other position that shares the broker's position keeps its quantity.
"""

import os
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
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.model import ExecutionModel
from tests.execution.netting_model import NettingModel

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
STEPS = ("trigger", "click", "close", "broker")
ACCOUNTS = [
    (None, "HEDGING"),
    (ExitSafety.TICKET, "NETTING"),
    (ExitSafety.REDUCE_ONLY, "NETTING"),
    (ExitSafety.REDUCE_ONLY, "HEDGING"),
    (ExitSafety.OCA, "NETTING"),
    (ExitSafety.CANCEL_FIRST, "NETTING"),
    (ExitSafety.CANCEL_FIRST, "HEDGING"),
]
NAMES = [f"{safety or ExitSafety.TICKET}-{mode}" for safety, mode in ACCOUNTS]


class Race:
    """One position that all sources close, beside one that none closes."""

    def __init__(self, world: ExecutionModel, *, late: bool) -> None:
        self.world, self.late = world, late
        self.process = world.processes[0]
        self.wanted = factories.signal(world.feed, [("1.12", "1")])
        self.kept = factories.signal(world.feed, sl=D("1.05"))
        self._claim_and_send()
        self._apply_reports()
        world.sweep("guard")  # reports how far each position is protected
        self.world.sweep("drain")

    def do(self, step: str) -> None:
        getattr(self, step)()
        self._claim_and_send()
        if not self.late:
            self._apply_reports()

    def trigger(self) -> None:
        factories.quote(self.world.accounts[0], "1.08000")
        self.world.sweep("watch")
        for seconds in (3.5, 0, 0):
            self.world.sweep("guard")
            self.world.pass_time(seconds)

    def click(self) -> None:
        position = ExecutionPosition.objects.get(signal=self.wanted)
        self.world.ask(close_position, position.pk)

    def close(self) -> None:
        self.world.follow(self.wanted, "close")

    def broker(self) -> None:
        held = self.world.tickets(working=False)
        entry = Order.objects.get(signal=self.wanted, leg="entry")
        mine = [n for n, t in enumerate(held) if t.request.order_id == entry.pk]
        if mine and held[mine[0]].request.stop_loss is not None:
            self.world.broker_does(mine[0], "sl")

    def _claim_and_send(self) -> None:
        for _ in range(2):
            self.world.claim(self.process, slice(None))
            while self.process.hand:
                self.world.send(self.process, 0, "fill")
            self.world.sweep("guard")
            self.world.pass_time(1.1)

    def _apply_reports(self) -> None:
        self.world.flush(self.process, False, False)
        self.world.sweep("drain")

    def check(self) -> None:
        self.world.settle()
        self.world.check_settled()
        closed = ExecutionPosition.objects.get(signal=self.wanted)
        kept = ExecutionPosition.objects.get(signal=self.kept)
        assert (closed.quantity, kept.quantity) == (0, 100)
        (sums,) = rows(
            "SELECT coalesce(sum(f.quantity), 0) AS left FROM execution_fill f"
            " JOIN execution_order o ON o.id = f.order_id WHERE o.position_id = %s",
            (closed.pk,),
        )
        assert sums.left == closed.opened_quantity == 100


@pytest.fixture
def account(
    transactional_db: None, runtime: TradingRuntime, broker: FakeBroker
) -> ExecutionConnection:
    factories.instrument()
    return factories.account(make.feed(), settings={"native_stops": True})


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("safety", "mode"), ACCOUNTS, ids=NAMES)
def test_position_is_closed_once_in_every_order_of_events(
    account: ExecutionConnection, broker: FakeBroker, safety: ExitSafety | None, mode: str
) -> None:
    """All 24 orders with immediate and late replies when deep; otherwise every fifth one."""
    AccountSnapshot.objects.update(position_mode=mode)
    feed = account.subscriptions.get().feed
    stories = list(product(permutations(STEPS), (False, True)))
    for number, (steps, late) in enumerate(stories if DEEP else stories[::5]):
        world = ExecutionModel(broker, [account], feed, safety=safety, netting=mode == "NETTING")
        race = Race(world, late=late)
        halted_at = number % (len(steps) + 3)  # at each step in turn; past the last: never
        for place, step in enumerate(steps):
            if place == halted_at:
                world.halt("HALTED")
            race.do(step)
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
        wanted, kept = factories.signal(feed), factories.signal(feed, sl=D("1.05"))
        factories.fill_all()
        position = ExecutionPosition.objects.get(signal=wanted)
        factories.quote(account, "1.08500")
        low = Quote("EUR/USD", D("1.08500"), D("1.08510"), market_now())
        assert account.data_connection_id
        source = account.data_connection_id
        everybody: list[Callable[[], object]] = [
            partial(close_position, position.pk),
            partial(close_position, position.pk, fraction=D("0.5")),
            partial(factories.close_signal, wanted),
            partial(TickMonitor().process_quotes, source, [low]),
            scan_levels,
        ]
        at_once(everybody)
        at_once([claim_and_fill] * 3)
        settle(account)
        position.refresh_from_db()
        assert (position.quantity, position.reserved) == (0, 0)
        assert ExecutionPosition.objects.get(signal=kept).quantity == 100
        factories.quote(account)
    assert (broker.nets.reversed, broker.nets.stolen) == ([], [])


def at_once(everybody: Sequence[Callable[[], object]]) -> None:
    """Run them concurrently; a failure in one fails the test."""
    together = Barrier(len(everybody))

    def go(what: Callable[[], object]) -> None:
        together.wait(20)
        try:
            what()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(everybody)) as pool:
        for future in [pool.submit(go, what) for what in everybody]:
            future.result(60)


def claim_and_fill() -> None:
    """Claim as two workers would: each order goes to one of them."""
    for outgoing in claim(factories.pending(), worker_id=factories.OWNER):
        try:
            factories.answer(outgoing, factories.fake_broker().fill_at_once(outgoing.request))
        except Rejected as refused:
            factories.answer(outgoing, refused)


def settle(account: ExecutionConnection) -> None:
    for _ in range(8):
        broker_positions.refresh()
        scan_levels()
        claim_and_fill()
        factories.pass_time(2)
