"""Held, sliced and routed entries against random interleavings, with the events of the core."""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from brokers.types import OrderType
from tests.execution.core_machine import INDEX, SENT, WHICH, Core
from tests.execution.entry_model import EntryModel
from tests.execution.fake_broker import FakeBroker
from tests.execution.interleavings import TIMEOUT, explore
from tests.execution.routed_world import limit_broker, of_mode

HELD = ["stop", "stop limit", "touched", "trailing buy", "trailing sell", "trailing later"]
SLICED = ["slices", "slices, rest", "stop limit", "trailing buy"]  # of netting accounts: buys only
BIDS = st.lists(
    st.sampled_from(["1.0900", "1.0949", "1.0999", "1.1040", "1.1050", "1.1101", "1.1150"]),
    min_size=1, max_size=5,
)  # fmt: skip
arguments: dict[str, Any] = {}
kinds: list[str] = []


class Entries(Core):
    """The events of the core, prices, and entries of every kind."""

    model: EntryModel

    @initialize(index=INDEX)
    def begin(self, index: int) -> None:
        self.model = EntryModel(**arguments)
        self.model.publish(kinds[index % len(kinds)])
        self.model.trade(self.model.processes[0], ["fill"] * 3, backwards=False)

    @precondition(lambda self: self.model.opens_now < 4)
    @rule(index=INDEX, sent=st.sampled_from(["fill", "", "part", "lost"]))
    def enter(self, index: int, sent: str) -> None:
        """Publish an entry; the usual case is that it is claimed at once."""
        self.model.publish(kinds[index % len(kinds)])
        if sent:
            self.model.trade(self.model.processes[0], [sent] * 3, backwards=False)

    @rule(bids=BIDS)
    def tick(self, bids: list[str]) -> None:
        self.model.tick(bids)

    @rule(what=st.sampled_from(["reroute", "reroute", "upkeep"]))
    def entry_jobs(self, what: str) -> None:
        self.model.sweep(what)

    @precondition(lambda self: any(o.reason == "SLICE_SCHEDULED" for o in self.model.orders_now))
    @rule(which=WHICH, answers=st.lists(SENT, min_size=1, max_size=3))
    def next_slice(self, which: int, answers: list[str]) -> None:
        self.model.pass_time(20)
        self.model.trade(self.model.processes[which], answers, backwards=False)

    @precondition(lambda self: any(o.status == "PENDING" for o in self.model.orders_now))
    @rule(which=WHICH, then=st.sampled_from(["fill", "not sent", "silent"]))
    def fall_back(self, which: int, then: str) -> None:
        """The first account is not reached, so the next one of the route is tried."""
        process = self.model.processes[which]
        self.model.trade(process, ["not sent"] * 3, backwards=False)
        self.model.pass_time(7)
        self.model.claim(process, slice(None))
        self.model.trade(process, [then] * 3, backwards=False)


@pytest.mark.slow
@pytest.mark.draws
@pytest.mark.timeout(TIMEOUT)
@pytest.mark.parametrize("mode", ["HEDGING", "NETTING"])
def test_entries_are_sent_once_whatever_happens(
    routed_world: dict[str, Any], mode: str, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = frozenset({OrderType.MARKET, OrderType.LIMIT})
    limit_broker(broker, monkeypatch, order_types=taken)
    arguments.update(routed_world, **of_mode(mode))
    kinds[:] = SLICED if mode == "NETTING" else HELD
    explore(Entries, interleavings=6)
