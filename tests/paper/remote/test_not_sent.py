"""The paper broker as a process of its own: NotSent means that no byte left."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from brokers.base import NotSent, ReadFailed
from brokers.types import CancelRequest, OrderRequest
from common.reason_codes import Code
from tests.fakes.paper_server.framing import Unpacker, pack, unpack
from tests.fakes.paper_server.protocol import VERSION
from tests.paper.broker_process import (
    BrokerProcess,
    Caller,
    journal,
    kind,
    until,
)

pytestmark = [pytest.mark.django_db(transaction=True)]


def test_a_refused_connection_is_not_sent_and_the_broker_is_found_again(
    broker: BrokerProcess, caller: Caller
) -> None:
    broker.kill()
    [refused] = caller.place("early").values()
    assert isinstance(refused, NotSent)
    assert refused.code is Code.NOT_CONNECTED
    request = CancelRequest("early", "", "EURUSD")
    with pytest.raises(NotSent):
        caller.run(caller.adapter.cancel(caller.spec(), request))
    with pytest.raises(ReadFailed):
        caller.run(caller.adapter.positions(caller.spec()))
    broker.start()
    until(lambda: kind(caller.place("late")["late"]) == "FILLED", 60)  # back-off ends by itself
    assert journal() == ["late"]


def test_the_guard_is_asked_last_and_for_each_order(caller: Caller) -> None:
    asked = []

    def guard(request: OrderRequest) -> None:
        asked.append(request.client_order_id)
        if request.client_order_id == "stopped":
            raise NotSent(Code.KILL_SWITCH)

    told = caller.place("one", "stopped", "two", guard=guard)
    assert asked == ["one", "stopped", "two", "one", "two"]  # the frame was made anew
    assert {name: kind(outcome) for name, outcome in told.items()} == {
        "one": "FILLED", "stopped": "NotSent", "two": "FILLED",
    }  # fmt: skip
    assert journal() == ["one", "two"]


def test_who_stands_still_while_a_frame_is_made_ready_sends_nothing_of_it(
    caller: Caller,
) -> None:
    """The third of five orders takes too long: the two before it had been let through."""
    asked: list[str] = []

    def guard(request: OrderRequest) -> None:
        asked.append(request.client_order_id)
        if len(asked) >= 3:  # from here on it is too late, for whichever order
            raise NotSent(Code.SEND_DEADLINE)

    told = caller.place("one", "two", "three", "four", "five", guard=guard)
    assert [kind(outcome) for outcome in told.values()] == ["NotSent"] * 5
    assert journal() == []


def test_a_frame_that_the_kernel_takes_in_part_never_arrives() -> None:
    """A peer that reads nothing: at some point a frame does not go whole, and its line is cut."""
    with deaf_server() as (port, received), Caller(port) as caller:
        told = {}
        for number in range(200):
            told.update(caller.place(*[f"{number}-{i:02d}" for i in range(99)], patience=0.2))
            if "NotSent" in (seen := {kind(outcome) for outcome in told.values()}):
                break
        assert seen == {"OutcomeUnknown", "NotSent"}
        arrived = received()
    not_sent = {name for name, outcome in told.items() if isinstance(outcome, NotSent)}
    assert arrived
    assert not not_sent & arrived


@contextmanager
def deaf_server() -> Iterator[tuple[int, Callable[[], set[str]]]]:
    """Greets and reads nothing; at the end, what whole frames had reached it."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[socket.socket] = []
    done = threading.Event()

    def serve() -> None:
        one, _ = listener.accept()
        accepted.append(one)
        one.sendall(pack({"paper": VERSION}))
        with suppress(OSError):
            while not done.wait(0.5):
                one.sendall(pack({}))

    def received() -> set[str]:
        done.set()
        unpacker, names = Unpacker(), set()
        accepted[0].settimeout(2)
        try:
            while data := accepted[0].recv(1 << 20):
                for body in unpacker.feed(data):
                    names |= {pair[1]["client_order_id"] for pair in unpack(body)["args"]}
        except OSError:
            pass
        return names

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], received
    finally:
        done.set()
        thread.join(30)
        listener.close()
        for one in accepted:
            one.close()
