"""The paper broker in a separate process: anything but its answer is OutcomeUnknown."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from brokers.base import NotSent, OutcomeUnknown
from brokers.types import ConnectionSpec
from common.reason_codes import Code
from tests.fakes.paper_server.framing import describe_lost_answer, pack
from tests.fakes.paper_server.protocol import VERSION
from tests.faults.network_proxy import Network
from tests.paper.broker_process import BrokerProcess, Caller, journal, kind
from tests.paper.remote.helpers import at_the_same_time, find
from tests.until import until

pytestmark = [pytest.mark.usefixtures("inline_commits")]


@pytest.mark.processes
def test_lost_reply_is_unknown_and_order_is_found(network: Network) -> None:
    with Caller(network.port) as caller:
        caller.place("before")
        network.lose_replies()
        [outcome] = caller.place("mute", reply_timeout=0.5).values()
        assert isinstance(outcome, OutcomeUnknown)
        assert outcome.code is Code.REPLY_LOST
        network.heal()
        assert caller.run(find(caller, "mute"))
    assert journal() == ["before", "mute"]


@pytest.mark.processes
def test_reset_after_the_write_is_unknown(broker: BrokerProcess, network: Network) -> None:
    broker.ask("set_terms", [], {"reply_delay_ms": 60_000})
    with Caller(network.port) as caller:
        with at_the_same_time(journal, network.reset):
            [outcome] = caller.place("cut").values()
        assert isinstance(outcome, OutcomeUnknown)
        assert caller.run(find(caller, "cut"))


@pytest.mark.processes
def test_truncated_answer_is_unknown_and_logged(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    with Caller(network.port) as caller:
        caller.place("whole")
        network.halve_replies()
        with caplog.at_level(logging.WARNING):
            [outcome] = caller.place("half").values()
        assert isinstance(outcome, OutcomeUnknown)
        assert "half an answer" in caplog.text
        assert 'As it came: {"id":2,"outcomes":[[0,{"result":' in outcome.detail
        assert caller.run(find(caller, "half"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "answer",
    [
        b"no json at all",
        b'{"id":1,"outcomes":[[0,{"result":[{"kind":"UNLISTED"}]}]]}',
        b'{"id":1,"outcomes":7}',
        b'{"id":1}',
        b'{"id":1,"outcomes":[[0,{"error":"Rejected","code":"UNLISTED","detail":""}]]}',
        b"[1,2]",
    ],
)
def test_malformed_answer_is_unknown_and_logged(
    answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with server_that_answers(answer) as port, Caller(port) as caller:
        [outcome] = caller.place("x").values()
    assert isinstance(outcome, OutcomeUnknown)
    assert answer[:20].decode() in caplog.text
    has_call_number = answer.startswith(b'{"id":1')
    assert (
        answer.decode() in outcome.detail
    ) is has_call_number  # the connection carries answers for others, too


def test_answer_for_several_accounts_is_shown_to_none() -> None:
    spec, other = (ConnectionSpec(name, name, credentials={"p": "hunter2"}) for name in ("a", "b"))
    assert (
        describe_lost_answer("cut", b'{"id":1 hunter2\0', [spec, spec])
        == 'cut. As it came: {"id":1 ***\\0'
    )
    assert describe_lost_answer("cut", b'{"id":1', [spec, other]) == "cut (the log has what came)"
    assert describe_lost_answer("cut", b"", [spec]) == "cut"


def test_excerpt_is_bounded_and_truncated_secret_is_redacted() -> None:
    spec = ConnectionSpec("a", "a", credentials={"p": "hunter2secret"})
    received = b'{"id":1,"x":"hunter2secret and hunter2se'
    assert (
        describe_lost_answer("cut", received, [spec]) == 'cut. As it came: {"id":1,"x":"*** and ***'
    )
    # What the execution log stores.
    assert len(describe_lost_answer("cut", b"x" * 5_000_000, [spec])) < 2000


@contextmanager
def server_that_answers(answer: bytes) -> Iterator[int]:
    """Greet, wait for a call and answer it with these bytes; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(pack({"paper": VERSION}))
                peer.recv(1 << 16)
                peer.sendall(len(answer).to_bytes(4, "big") + answer)
                with suppress(OSError):
                    peer.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(60)


@pytest.mark.processes
def test_orders_in_flight_when_broker_is_killed_are_unknown(
    broker: BrokerProcess, caller: Caller
) -> None:
    broker.ask("set_terms", ["A1"], {"reply_delay_ms": 60_000})
    with at_the_same_time(lambda: len(journal()) == 50, broker.kill):
        outcomes = caller.place(*[f"k{number:02d}" for number in range(50)])
    assert {kind(outcome) for outcome in outcomes.values()} == {"OutcomeUnknown"}
    assert journal() == sorted(outcomes)


@pytest.mark.processes
def test_delayed_packet_is_accepted_when_it_arrives(
    network: Network,
) -> None:
    """Like a real broker it has no send deadline. An early look-up proves nothing."""
    with Caller(network.port) as caller:
        caller.place("before")
        network.delay(4.0)
        [outcome] = caller.place("slow", reply_timeout=0.2).values()
        assert isinstance(outcome, OutcomeUnknown)
    assert journal() == ["before"]  # its sender is gone and it has not arrived, but it will
    until(lambda: journal() == ["before", "slow"])


@pytest.mark.processes
def test_partition_resets_connection_and_drops_unsent_orders(network: Network) -> None:
    with Caller(network.port) as caller:
        caller.place("before")
        network.partition()
        [outcome] = caller.place("lost").values()  # ends after five seconds without data
        assert isinstance(outcome, OutcomeUnknown)
        [next_outcome] = caller.place("next").values()
        assert isinstance(next_outcome, NotSent)  # no greeting: no byte of it was sent
        network.heal()
        until(lambda: kind(caller.place("after")["after"]) == "FILLED")
    assert journal() == ["after", "before"]
