"""The core against random interleavings: a stateful hypothesis model.

`HYPOTHESIS_PROFILE=deep` runs longer. Real PostgreSQL, committed transactions, no sleeps.
"""

import os
from collections.abc import Iterator
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from brokers.types import ExitSafety
from connections.models import AccountSnapshot
from execution import services
from execution.runtime import trading_runtime
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.model import NOW_AND_THEN, ExecutionModel

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
INDEX, WHICH = st.integers(0, 7), st.integers(0, 1)
KIND = st.sampled_from(["plain", "targets", "limit"])
SELDOM = st.sampled_from([False, False, False, True])
BROKER = st.sampled_from(
    ["fill", "fill half", "CANCELLED", "EXPIRED", "sl", "tp", "external", "external half"]
)
SENT = st.sampled_from(
    ["fill", "fill", "part", "rest", "reject", "requote", "not sent", "lost", "transit", "late",
     "silent", "part silent"]
)  # fmt: skip
worlds: dict[str, Any] = {}


class Core(RuleBasedStateMachine):
    """The events of the model, in any order."""

    @initialize(kind=KIND)
    def begin(self, kind: str) -> None:
        self.world = ExecutionModel(**worlds)
        self.world.publish(kind)

    @precondition(lambda self: self.world.opens_now < 3)
    @rule(kind=KIND)
    def publish(self, kind: str) -> None:
        self.world.publish(kind)

    @rule(index=INDEX, what=st.sampled_from(["close", "close half", "modify", "cancel"]))
    def follow(self, index: int, what: str) -> None:
        opens = self.world.opens()
        self.world.follow(opens[index % len(opens)], what)

    @rule(which=WHICH, answers=st.lists(SENT, min_size=1, max_size=3), backwards=st.booleans())
    def trade(self, which: int, answers: list[str], backwards: bool) -> None:
        self.world.trade(self.world.processes[which], answers, backwards)

    @precondition(lambda self: any(o.status == "PENDING" for o in self.world.orders_now))
    @rule(which=WHICH, part=st.sampled_from([slice(None), slice(1), slice(1, None)]))
    def claim(self, which: int, part: slice) -> None:
        self.world.claim(self.world.processes[which], part)

    @precondition(lambda self: any(p.hand for p in self.world.processes))
    @rule(index=INDEX, what=SENT)
    def send(self, index: int, what: str) -> None:
        having = [p for p in self.world.processes if p.hand]
        self.world.send(having[index % len(having)], index, what)

    @precondition(lambda self: self.world.transit)
    @rule(index=INDEX)
    def arrive(self, index: int) -> None:
        self.world.arrive(index)

    @precondition(lambda self: any(p.outbox for p in self.world.processes))
    @rule(index=INDEX, backwards=st.booleans(), twice=st.booleans())
    def flush(self, index: int, backwards: bool, twice: bool) -> None:
        having = [p for p in self.world.processes if p.outbox]
        self.world.flush(having[index % len(having)], backwards, twice)

    @precondition(lambda self: self.world.history)
    @rule(chosen=st.lists(INDEX, min_size=1, max_size=4))
    def retell(self, chosen: list[int]) -> None:
        self.world.retell(chosen)

    @rule(which=WHICH, stopped=st.booleans(), then=st.sampled_from([0, *NOW_AND_THEN]))
    def die(self, which: int, stopped: bool, then: float) -> None:
        self.world.die(self.world.processes[which], stopped=stopped)
        self.world.sweep("take over")
        self.world.pass_time(then)

    @rule(seconds=st.sampled_from(NOW_AND_THEN))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @precondition(
        lambda self: any(o.status in ("SUBMITTING", "UNKNOWN") for o in self.world.orders_now)
    )
    @rule(what=st.sampled_from(["take over", "ask", "ask"]), reads_fail=SELDOM, then=SELDOM)
    def look_up(self, what: str, reads_fail: bool, then: bool) -> None:
        self.world.broker.reads_fail = reads_fail
        self.world.sweep(what)
        self.world.broker.reads_fail = False
        self.world.pass_time(61 if then else 0)

    @precondition(lambda self: any(o.pending_action for o in self.world.orders_now))
    @rule(cancelling=st.sampled_from(["take", "take", "refuse", "silent"]))
    def process_pending_actions(self, cancelling: str) -> None:
        self.world.broker.cancelling = cancelling
        self.world.sweep("pending actions")

    @precondition(lambda self: self.world.positions_now)
    @rule(bid=st.sampled_from(["1.09990", "1.08000", "1.12500", "1.14000"]))
    def quote_and_watch(self, bid: str) -> None:
        for account in self.world.accounts:
            factories.quote(account, bid)
        self.world.sweep("watch")

    @precondition(lambda self: self.world.positions_now)
    @rule(reads_fail=SELDOM, then=st.sampled_from([0, 1.5, 3.5]))
    def guard(self, reads_fail: bool, then: float) -> None:
        self.world.broker.reads_fail = reads_fail
        self.world.sweep("guard")
        self.world.broker.reads_fail = False
        self.world.pass_time(then)

    @precondition(lambda self: self.world.broker.tickets)
    @rule(index=INDEX, what=BROKER, drained=st.booleans(), backwards=st.booleans())
    def broker_does(self, index: int, what: str, drained: bool, backwards: bool) -> None:
        self.world.broker_does(index, what)
        broker = self.world.broker
        broker.shuffle = (lambda reports: reports[::-1]) if backwards else (lambda reports: reports)
        if drained:
            self.world.sweep("drain")

    @precondition(lambda self: self.world.broker.tickets)
    @rule(reads_fail=SELDOM)
    def reconcile(self, reads_fail: bool) -> None:
        self.world.broker.reads_fail = reads_fail
        self.world.sweep("reconcile")
        self.world.broker.reads_fail = False

    @rule(index=INDEX, what=st.sampled_from(["cancel", "retry"]))
    def person_and_order(self, index: int, what: str) -> None:
        orders = self.world.orders_now
        act = services.cancel_order if what == "cancel" else services.retry_order
        self.world.ask(act, orders[index % len(orders)].id)

    @precondition(lambda self: self.world.positions_now)
    @rule(index=INDEX, fraction=st.sampled_from([D("0.3"), D("0.5"), D(1)]))
    def close_position(self, index: int, fraction: D) -> None:
        positions = self.world.positions_now
        position_id = positions[index % len(positions)].id
        self.world.ask(services.close_position, position_id, fraction=fraction)

    @rule(mode=st.sampled_from([*[None] * 6, "REDUCING", "HALTED"]))
    def halt(self, mode: str | None) -> None:
        self.world.halt(mode)

    @invariant()
    def everything_holds(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.settle()
            self.world.check_settled()


@pytest.fixture
def universe(
    transactional_db: None, runtime: trading_runtime.TradingRuntime, broker: FakeBroker
) -> Iterator[dict[str, Any]]:
    factories.instrument()
    feed = make.feed()
    ours = factories.account(feed)
    theirs = factories.account(feed, settings={"native_stops": True})
    worlds.update(broker=broker, accounts=[ours, theirs], feed=feed)
    yield worlds
    worlds.clear()


def explore(examples: int) -> None:
    run_state_machine_as_test(
        Core,
        settings=settings(
            max_examples=examples,
            stateful_step_count=60 if DEEP else 40,
            deadline=None,
            derandomize=not DEEP,
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        ),
    )


@pytest.mark.slow
@pytest.mark.timeout(7200 if DEEP else 900)
def test_core_invariants_hold_in_every_interleaving(universe: dict[str, Any]) -> None:
    explore(600 if DEEP else 50)


@pytest.mark.slow
@pytest.mark.timeout(7200 if DEEP else 900)
@pytest.mark.parametrize(
    ("safety", "mode"),
    [  # hedging accounts are the test above
        (safety, mode)
        for safety in ExitSafety
        for mode in ("NETTING", "HEDGING")
        if (safety, mode) != (ExitSafety.TICKET, "HEDGING")
    ],
)
def test_no_exit_ever_reverses_a_position(
    universe: dict[str, Any], safety: ExitSafety, mode: str
) -> None:
    """The same events on accounts that do not close by ticket or that net positions."""
    AccountSnapshot.objects.update(position_mode=mode)
    worlds.update(safety=safety, netting=mode == "NETTING")
    explore(150 if DEEP else 8)
