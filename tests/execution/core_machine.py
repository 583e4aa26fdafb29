"""The events of the core model, in any order that Hypothesis draws."""

from collections.abc import Iterator
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from execution import services
from execution.runtime import trading_runtime
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.model import NOW_AND_THEN, ExecutionModel

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
arguments: dict[str, Any] = {}


class Core(RuleBasedStateMachine):
    """The events of the model, in any order."""

    @initialize(kind=KIND)
    def begin(self, kind: str) -> None:
        self.model = ExecutionModel(**arguments)
        self.model.publish(kind)

    @precondition(lambda self: self.model.opens_now < 3)
    @rule(kind=KIND)
    def publish(self, kind: str) -> None:
        self.model.publish(kind)

    @rule(index=INDEX, what=st.sampled_from(["close", "close half", "modify", "cancel"]))
    def follow(self, index: int, what: str) -> None:
        opens = self.model.opens()
        self.model.follow_up(opens[index % len(opens)], what)

    @rule(which=WHICH, answers=st.lists(SENT, min_size=1, max_size=3), backwards=st.booleans())
    def trade(self, which: int, answers: list[str], backwards: bool) -> None:
        self.model.trade(self.model.processes[which], answers, backwards)

    @precondition(lambda self: any(o.status == "PENDING" for o in self.model.orders_now))
    @rule(which=WHICH, part=st.sampled_from([slice(None), slice(1), slice(1, None)]))
    def claim(self, which: int, part: slice) -> None:
        self.model.claim(self.model.processes[which], part)

    @precondition(lambda self: any(p.claimed for p in self.model.processes))
    @rule(index=INDEX, what=SENT)
    def send(self, index: int, what: str) -> None:
        processes = [p for p in self.model.processes if p.claimed]
        self.model.send(processes[index % len(processes)], index, what)

    @precondition(lambda self: self.model.transit)
    @rule(index=INDEX)
    def arrive(self, index: int) -> None:
        self.model.arrive(index)

    @precondition(lambda self: any(p.received for p in self.model.processes))
    @rule(index=INDEX, backwards=st.booleans(), twice=st.booleans())
    def flush(self, index: int, backwards: bool, twice: bool) -> None:
        processes = [p for p in self.model.processes if p.received]
        self.model.write_reports(processes[index % len(processes)], backwards, twice)

    @precondition(lambda self: self.model.history)
    @rule(chosen=st.lists(INDEX, min_size=1, max_size=4))
    def retell(self, chosen: list[int]) -> None:
        self.model.repeat_reports(chosen)

    @rule(which=WHICH, stopped=st.booleans(), then=st.sampled_from([0, *NOW_AND_THEN]))
    def die(self, which: int, stopped: bool, then: float) -> None:
        self.model.die(self.model.processes[which], stopped=stopped)
        self.model.sweep("take over")
        self.model.pass_time(then)

    @rule(seconds=st.sampled_from(NOW_AND_THEN))
    def pass_time(self, seconds: float) -> None:
        self.model.pass_time(seconds)

    @precondition(
        lambda self: any(o.status in ("SUBMITTING", "UNKNOWN") for o in self.model.orders_now)
    )
    @rule(what=st.sampled_from(["take over", "ask", "ask"]), reads_fail=SELDOM, then=SELDOM)
    def look_up(self, what: str, reads_fail: bool, then: bool) -> None:
        self.model.broker.reads_fail = reads_fail
        self.model.sweep(what)
        self.model.broker.reads_fail = False
        self.model.pass_time(61 if then else 0)

    @precondition(lambda self: any(o.pending_action for o in self.model.orders_now))
    @rule(cancelling=st.sampled_from(["take", "take", "refuse", "silent"]))
    def process_pending_actions(self, cancelling: str) -> None:
        self.model.broker.cancelling = cancelling
        self.model.sweep("pending actions")

    @precondition(lambda self: self.model.positions_now)
    @rule(bid=st.sampled_from(["1.09990", "1.08000", "1.12500", "1.14000"]))
    def quote_and_watch(self, bid: str) -> None:
        for account in self.model.accounts:
            factories.quote(account, bid)
        self.model.sweep("watch")

    @precondition(lambda self: self.model.positions_now)
    @rule(reads_fail=SELDOM, then=st.sampled_from([0, 1.5, 3.5]))
    def guard(self, reads_fail: bool, then: float) -> None:
        self.model.broker.reads_fail = reads_fail
        self.model.sweep("guard")
        self.model.broker.reads_fail = False
        self.model.pass_time(then)

    @precondition(lambda self: self.model.broker.tickets)
    @rule(index=INDEX, what=BROKER, drained=st.booleans(), backwards=st.booleans())
    def broker_does(self, index: int, what: str, drained: bool, backwards: bool) -> None:
        self.model.broker_does(index, what)
        broker = self.model.broker
        broker.shuffle = (lambda reports: reports[::-1]) if backwards else (lambda reports: reports)
        if drained:
            self.model.sweep("drain")

    @precondition(lambda self: self.model.broker.tickets)
    @rule(reads_fail=SELDOM)
    def reconcile(self, reads_fail: bool) -> None:
        self.model.broker.reads_fail = reads_fail
        self.model.sweep("reconcile")
        self.model.broker.reads_fail = False

    @rule(index=INDEX, what=st.sampled_from(["cancel", "retry"]))
    def person_and_order(self, index: int, what: str) -> None:
        orders = self.model.orders_now
        act = services.cancel_order if what == "cancel" else services.retry_order
        self.model.request(act, orders[index % len(orders)].id)

    @precondition(lambda self: self.model.positions_now)
    @rule(index=INDEX, fraction=st.sampled_from([D("0.3"), D("0.5"), D(1)]))
    def close_position(self, index: int, fraction: D) -> None:
        positions = self.model.positions_now
        position_id = positions[index % len(positions)].id
        self.model.request(services.close_position, position_id, fraction=fraction)

    @rule(mode=st.sampled_from([*[None] * 6, "REDUCING", "HALTED"]))
    def halt(self, mode: str | None) -> None:
        self.model.halt(mode)

    @invariant()
    def everything_holds(self) -> None:
        if hasattr(self, "model"):
            self.model.check()

    def teardown(self) -> None:
        if hasattr(self, "model"):
            self.model.settle()
            self.model.check_settled()


@pytest.fixture
def model_arguments(
    transactional_db: None, runtime: trading_runtime.TradingRuntime, broker: FakeBroker
) -> Iterator[dict[str, Any]]:
    factories.instrument()
    feed = make.feed()
    ours = factories.account(feed)
    theirs = factories.account(feed, settings={"native_stops": True})
    arguments.update(broker=broker, accounts=[ours, theirs], feed=feed)
    yield arguments
    arguments.clear()
