"""The paper broker as a process of its own: only its word counts, all else is OutcomeUnknown."""

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
from tests.paper.broker_process import (
    BrokerProcess,
    Caller,
    journal,
    kind,
    until,
)
from tests.paper.remote.helpers import at_the_same_time, find

pytestmark = [pytest.mark.django_db(transaction=True)]


def test_a_lost_answer_is_unknown_and_the_order_is_found(network: Network) -> None:
    with Caller(network.port) as caller:
        caller.place("before")
        network.lose_replies()
        [outcome] = caller.place("mute", patience=0.5).values()
        assert isinstance(outcome, OutcomeUnknown)
        assert outcome.code is Code.REPLY_LOST
        network.heal()
        assert caller.run(find(caller, "mute"))
    assert journal() == ["before", "mute"]


def test_a_reset_after_the_write_is_unknown(broker: BrokerProcess, network: Network) -> None:
    broker.ask("set_terms", [], {"reply_delay_ms": 60_000})
    with Caller(network.port) as caller:
        with at_the_same_time(journal, network.reset):
            [outcome] = caller.place("cut").values()
        assert isinstance(outcome, OutcomeUnknown)
        assert caller.run(find(caller, "cut"))


def test_half_an_answer_is_unknown_and_logged(
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


@pytest.mark.parametrize(
    "words",
    [
        b"no json at all",
        b'{"id":1,"outcomes":[[0,{"result":[{"kind":"GREMLIN"}]}]]}',
        b'{"id":1,"outcomes":7}',
        b'{"id":1}',
        b'{"id":1,"outcomes":[[0,{"error":"Rejected","code":"NOBODYS","detail":""}]]}',
        b"[1,2]",
    ],
)
def test_an_answer_that_makes_no_sense_is_unknown_and_logged(
    words: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with nonsense_server(words) as port, Caller(port) as caller:
        [outcome] = caller.place("x").values()
    assert isinstance(outcome, OutcomeUnknown)
    assert words[:20].decode() in caplog.text
    says_whose = words.startswith(b'{"id":1')
    assert (words.decode() in outcome.detail) is says_whose  # the line has others' answers, too


def test_what_came_for_several_accounts_is_read_by_none_of_them() -> None:
    one, other = (ConnectionSpec(name, name, credentials={"p": "hunter2"}) for name in ("a", "b"))
    assert (
        describe_lost_answer("cut", b'{"id":1 hunter2\0', [one, one])
        == 'cut. As it came: {"id":1 ***\\0'
    )
    assert describe_lost_answer("cut", b'{"id":1', [one, other]) == "cut (the log has what came)"
    assert describe_lost_answer("cut", b"", [one]) == "cut"


def test_what_came_is_bounded_and_a_secret_that_is_cut_is_none_of_it() -> None:
    one = ConnectionSpec("a", "a", credentials={"p": "hunter2secret"})
    came = b'{"id":1,"x":"hunter2secret and hunter2se'
    assert describe_lost_answer("cut", came, [one]) == 'cut. As it came: {"id":1,"x":"*** and ***'
    assert (
        len(describe_lost_answer("cut", b"x" * 5_000_000, [one])) < 2000
    )  # what the order's log keeps


@contextmanager
def nonsense_server(words: bytes) -> Iterator[int]:
    """Greets, waits for a call and answers it with these words."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            one, _ = listener.accept()
            with one:
                one.sendall(pack({"paper": VERSION}))
                one.recv(1 << 16)
                one.sendall(len(words).to_bytes(4, "big") + words)
                with suppress(OSError):
                    one.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


def test_what_is_under_way_when_the_broker_is_killed_is_unknown(
    broker: BrokerProcess, caller: Caller
) -> None:
    broker.ask("set_terms", ["A1"], {"reply_delay_ms": 60_000})
    with at_the_same_time(lambda: len(journal()) == 50, broker.kill):
        told = caller.place(*[f"k{number:02d}" for number in range(50)])
    assert {kind(outcome) for outcome in told.values()} == {"OutcomeUnknown"}
    assert journal() == sorted(told)


def test_a_packet_that_was_delayed_on_its_way_is_accepted_when_it_arrives(
    network: Network,
) -> None:
    """As with a real broker: it knows no send deadline. An early look proves nothing."""
    with Caller(network.port) as caller:
        caller.place("before")
        network.delay(1.5)
        [outcome] = caller.place("slow", patience=0.2).values()
        assert isinstance(outcome, OutcomeUnknown)
    assert journal() == ["before"]  # its sender is gone, it is not there, and yet:
    until(lambda: journal() == ["before", "slow"], 5)


def test_in_a_partition_the_line_is_cut_and_what_it_held_never_arrives(network: Network) -> None:
    with Caller(network.port) as caller:
        caller.place("before")
        network.partition()
        [outcome] = caller.place("lost").values()  # ends when nothing is heard for five seconds
        assert isinstance(outcome, OutcomeUnknown)
        [next_one] = caller.place("next").values()
        assert isinstance(next_one, NotSent)  # nobody greets: no byte of it left
        network.heal()
        until(lambda: kind(caller.place("after")["after"]) == "FILLED")
    assert journal() == ["after", "before"]
