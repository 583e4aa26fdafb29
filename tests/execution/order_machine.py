"""The events of the order model, in any order that Hypothesis draws."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from connections.models import ExecutionConnection
from tests.execution import test_change_model
from tests.execution.core_machine import INDEX, SENT, WHICH
from tests.execution.interleavings import explore
from tests.execution.order_model import KINDS, OWN, WINDOW_MS, OrderModel
from tests.execution.test_change_model import Changes
from tests.execution.test_entry_model import BIDS

OWN_TERMS = st.sampled_from([*OWN, "end"])
arguments: dict[str, Any] = {}


class Orders(Changes):
    """The events of the changes, rules of stops, joined entries, and own levels and ends."""

    model: OrderModel

    @initialize(index=INDEX, second=INDEX)
    def begin(self, index: int, second: int) -> None:
        world = arguments["world"]
        self.model = OrderModel(**arguments)
        test_change_model.kinds[:] = KINDS[world]
        kinds = KINDS[world]
        self.model.publish(kinds[index % 3])
        self.model.trade(self.model.processes[0], ["rest"] * 3, backwards=False)
        self.model.publish(kinds[3 + second % (len(kinds) - 3)])
        self.model.claim(self.model.processes[0], slice(None))

    @precondition(lambda self: any(o.done_at is None for o in self.model.orders_now))
    @rule(index=INDEX, what=OWN_TERMS, synced=st.booleans())
    def change_own(self, index: int, what: str, synced: bool) -> None:
        self.model.change_own(index, what)
        if synced:
            self.model.sweep("pending actions")

    @precondition(lambda self: self.model.positions_now)
    @rule(bids=BIDS, then=st.sampled_from([0, 1.5, 7.0]))
    def trail(self, bids: list[str], then: float) -> None:
        """Rules are judged, at prices and when they are due; the broker's stops follow."""
        self.model.sweep("rules")
        self.model.tick(bids)
        self.model.sweep("guard")
        self.model.pass_time(then)

    @precondition(lambda self: self.model.world == "netted" and self.model.opens_now < 6)
    @rule(which=WHICH, number=st.integers(2, 3), answers=st.lists(SENT, min_size=1, max_size=3))
    def join(self, which: int, number: int, answers: list[str]) -> None:
        """Entries come within the window, and are sent when it has ended."""
        for _ in range(number):
            self.model.publish("plain")
        self.model.claim(self.model.processes[which], slice(None))
        self.model.pass_time(WINDOW_MS / 1000)
        self.model.trade(self.model.processes[which], answers, backwards=False)


def explore_orders(routed_world: dict[str, Any], world: str) -> None:
    """Search for an order of events after which an order was not sent once."""
    if world != "netted":
        other = routed_world["accounts"][1]
        ExecutionConnection.objects.filter(pk=other.pk).update(settings={"native_stops": True})
    arguments.clear()
    arguments.update(routed_world, world=world)
    explore(Orders, interleavings=5)
