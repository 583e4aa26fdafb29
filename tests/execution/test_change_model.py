"""OCO pairs, changed entries and conditions against random interleavings, deaths and prices."""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from brokers.types import OrderType
from execution.models import AT_BROKER
from tests.execution.change_model import CONDITIONS, LATER, PAIRS, WANTED, ChangeModel
from tests.execution.core_machine import INDEX, SELDOM, WHICH
from tests.execution.fake_broker import FakeBroker
from tests.execution.interleavings import TIMEOUT, explore
from tests.execution.routed_world import limit_broker, of_mode
from tests.execution.test_entry_model import BIDS, Entries

WAITING = [*CONDITIONS, *LATER]
HEDGED = ["limit", "limit", "stop limit", *PAIRS, *WAITING]
NETTED = ["limit", "limit", "stop limit", "pair", "pair, trailing", *WAITING]  # buys only
CLAIM_POINTS = ["claim.locked", "claim.written", "triggers.armed", "conditions.met"]
CHANGING = st.sampled_from(["take", "take", "silent", "lost", "refuse", "not sent"])
arguments: dict[str, Any] = {}
kinds: list[str] = []


class Changes(Entries):
    """The events of the entries, changes, conditions, and deaths within a step."""

    model: ChangeModel

    @initialize(index=INDEX, second=INDEX)
    def begin(self, index: int, second: int) -> None:
        self.model = ChangeModel(**arguments)
        self.model.publish(kinds[index % 3])
        self.model.trade(self.model.processes[0], ["rest"] * 3, backwards=False)
        self.model.publish(kinds[3 + second % (len(kinds) - 3)])
        self.model.claim(self.model.processes[0], slice(None))

    @precondition(lambda self: self.model.opens_now < 6)
    @rule(index=st.integers(0, 99), sent=st.sampled_from(["rest", "rest", "part", "fill", "lost"]))
    def enter(self, index: int, sent: str) -> None:
        """Publish an entry; the usual case is that it is claimed at once."""
        self.model.publish(kinds[index % len(kinds)])
        self.model.trade(self.model.processes[0], [sent] * 3, backwards=False)

    @rule(index=INDEX, what=st.sampled_from(sorted(WANTED)), synced=st.booleans())
    def change(self, index: int, what: str, synced: bool) -> None:
        self.model.change(index, what)
        if synced:
            self.model.sweep("pending actions")

    @precondition(lambda self: any(o.status in AT_BROKER for o in self.model.orders_now))
    @rule(
        index=INDEX,
        what=st.sampled_from(["larger", "smaller", "nearer", "further", "both"]),
        changing=CHANGING,
        point=st.sampled_from(["", "", "", "changes.committed", "changes.answered"]),
    )
    def change_working(self, index: int, what: str, changing: str, point: str) -> None:
        """The usual case: an order at its broker is changed at once."""
        self.model.change(index, what, AT_BROKER)
        self.sync_once(changing, point, reads_fail=False)

    @rule(index=INDEX, price=st.sampled_from(["1.0940", "1.0960", "1.1045", "1.1060"]))
    def reprice(self, index: int, price: str) -> None:
        self.model.reprice(index, price)

    @rule(
        changing=CHANGING,
        point=st.sampled_from(["", "", "changes.committed", "changes.answered"]),
        reads_fail=SELDOM,
        then=st.sampled_from([0, 2.5, 7.0, 31.0]),
    )
    def sync(self, changing: str, point: str, reads_fail: bool, then: float) -> None:
        """Changes are made or read at the broker; the process may die before or after the call."""
        self.sync_once(changing, point, reads_fail=reads_fail)
        self.model.pass_time(then)

    def sync_once(self, changing: str, point: str, *, reads_fail: bool) -> None:
        self.model.broker.changing, self.model.broker.reads_fail = changing, reads_fail
        with self.model.dying(point):
            self.model.sweep("pending actions")
        self.model.broker.changing, self.model.broker.reads_fail = "take", False

    @precondition(lambda self: any(o.status == "PENDING" for o in self.model.orders_now))
    @rule(which=WHICH, point=st.sampled_from(CLAIM_POINTS))
    def claim_and_die(self, which: int, point: str) -> None:
        self.model.claim_and_die(self.model.processes[which], point)

    @precondition(lambda self: any(o.awaits_condition for o in self.model.orders_now))
    @rule(point=st.sampled_from(["", "conditions.woken"]))
    def wake(self, point: str) -> None:
        with self.model.dying(point):
            self.model.sweep("wake")

    @rule(bids=BIDS, point=st.sampled_from(["triggers.written", "triggers.committed"]))
    def tick_and_die(self, bids: list[str], point: str) -> None:
        self.model.tick(bids, point)


@pytest.mark.slow
@pytest.mark.draws
@pytest.mark.timeout(TIMEOUT)
@pytest.mark.parametrize("mode", ["HEDGING", "NETTING"])
def test_changed_paired_and_conditional_entries_are_sent_once_whatever_happens(
    routed_world: dict[str, Any], mode: str, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = frozenset({OrderType.MARKET, OrderType.LIMIT})
    limit_broker(broker, monkeypatch, order_types=taken)
    arguments.update(routed_world, **of_mode(mode))
    kinds[:] = NETTED if mode == "NETTING" else HEDGED
    explore(Changes, interleavings=6)
