"""The paper broker in a separate process: NotSent means that no byte was sent."""

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
from tests.paper.broker_process import BrokerProcess, Caller, journal, kind
from tests.until import until

pytestmark = [pytest.mark.usefixtures("inline_commits")]


@pytest.mark.processes
def test_refused_connection_is_not_sent_and_is_opened_again(
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
    until(lambda: kind(caller.place("late")["late"]) == "FILLED")  # after the back-off
    assert journal() == ["late"]


@pytest.mark.processes
def test_guard_runs_last_and_for_each_order(caller: Caller) -> None:
    guarded = []

    def guard(request: OrderRequest) -> None:
        guarded.append(request.client_order_id)
        if request.client_order_id == "stopped":
            raise NotSent(Code.KILL_SWITCH)

    outcomes = caller.place("one", "stopped", "two", guard=guard)
    assert guarded == ["one", "stopped", "two", "one", "two"]  # the frame was made again
    assert {name: kind(outcome) for name, outcome in outcomes.items()} == {
        "one": "FILLED", "stopped": "NotSent", "two": "FILLED",
    }  # fmt: skip
    assert journal() == ["one", "two"]


@pytest.mark.processes
def test_stall_while_a_frame_is_prepared_sends_nothing_of_it(
    caller: Caller,
) -> None:
    """The third of five orders takes too long; the two before it had been allowed."""
    guarded: list[str] = []

    def guard(request: OrderRequest) -> None:
        guarded.append(request.client_order_id)
        if len(guarded) >= 3:  # from here on it is too late for any order
            raise NotSent(Code.SEND_DEADLINE)

    outcomes = caller.place("one", "two", "three", "four", "five", guard=guard)
    assert [kind(outcome) for outcome in outcomes.values()] == ["NotSent"] * 5
    assert journal() == []


@pytest.mark.django_db(transaction=True)
def test_partly_buffered_frame_never_arrives() -> None:
    """The peer reads nothing: a frame is buffered partly, and its connection is reset."""
    with server_that_reads_nothing() as (port, received), Caller(port) as caller:
        outcomes = {}
        for number in range(200):
            outcomes.update(
                caller.place(*[f"{number}-{i:02d}" for i in range(99)], reply_timeout=0.2)
            )
            seen = {kind(outcome) for outcome in outcomes.values()}
            if seen >= {"OutcomeUnknown", "NotSent"}:
                break
        assert seen == {"OutcomeUnknown", "NotSent"}
        arrived = received()
    not_sent = {name for name, outcome in outcomes.items() if isinstance(outcome, NotSent)}
    assert arrived
    assert not not_sent & arrived


@contextmanager
def server_that_reads_nothing() -> Iterator[tuple[int, Callable[[], set[str]]]]:
    """Greet and read nothing; yield the port, and what returns the ids of whole frames."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[socket.socket] = []
    done = threading.Event()

    def serve() -> None:
        peer, _ = listener.accept()
        accepted.append(peer)
        peer.sendall(pack({"paper": VERSION}))
        with suppress(OSError):
            while not done.wait(0.5):
                peer.sendall(pack({}))

    def received() -> set[str]:
        done.set()
        unpacker, arrived = Unpacker(), set()
        accepted[0].settimeout(60)
        try:
            while data := accepted[0].recv(1 << 20):
                for body in unpacker.feed(data):
                    arrived |= {pair[1]["client_order_id"] for pair in unpack(body)["args"]}
        except OSError:
            pass
        return arrived

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], received
    finally:
        done.set()
        thread.join(120)
        listener.close()
        for peer in accepted:
            peer.close()
