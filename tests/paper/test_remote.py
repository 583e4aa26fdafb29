"""The paper broker as a process of its own: real process, real sockets, its journal counted."""

import asyncio
import logging
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from brokers.base import BrokerAdapter, NotSent, OutcomeUnknown, ReadFailed
from brokers.messages import CancelRequest, OrderReport, OrderRequest
from brokers.paper.remote.frames import Unpacker, pack, unpack
from brokers.paper.remote.words import CALLS, LISTEN, SUBMIT, VERSION
from common.codes import Code
from tests.faults.network import Network
from tests.paper.broker_process import (
    ROOT,
    BrokerProcess,
    Caller,
    journal,
    kind,
    until,
)

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def process(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with BrokerProcess(tmp_path_factory.mktemp("broker") / "broker.log") as process:
        yield process


@pytest.fixture
def broker(process: BrokerProcess, transactional_db: None) -> BrokerProcess:
    """A broker that runs, with two accounts and a price; its books are the test's own."""
    if not process.alive:
        process.start()
    process.open("A1", "A2")
    return process


@pytest.fixture
def caller(broker: BrokerProcess) -> Iterator[Caller]:
    with Caller(broker.port) as someone:
        yield someone


@pytest.fixture
def network(broker: BrokerProcess) -> Iterator[Network]:
    with Network(("127.0.0.1", broker.port)) as between:
        yield between


# ---- what is accepted stays accepted -----------------------------------------------------------
def test_500_orders_of_one_call_are_each_told_and_accepted_once(caller: Caller) -> None:
    ids = [f"n{number:03d}" for number in range(500)]
    told = caller.place(*ids)
    assert {kind(outcome) for outcome in told.values()} == {"FILLED"}
    assert sorted(told) == ids == journal()


def test_an_accepted_order_survives_the_brokers_own_kill(
    broker: BrokerProcess, caller: Caller
) -> None:
    caller.place("first")
    broker.kill()
    broker.start()
    [found] = caller.run(_find(caller, "first"))
    assert found.fills[0].quantity == 1000
    assert journal() == ["first"]


def test_a_desk_from_before_asks_the_broker_that_was_started_anew(broker: BrokerProcess) -> None:
    desk = broker.desk
    desk.call("list_instruments")
    broker.kill()
    broker.start()
    desk.call("list_instruments")  # on a line of its own: nothing is asked on the one that is dead
    desk.close()


async def _find(caller: Caller, client_order_id: str, seconds: float = 20) -> list[OrderReport]:
    """Ask until the order is there: the line may be in back-off, the order still in the book's
    hands."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                found = await caller.adapter.find_order(caller.spec(), client_order_id)
            except ReadFailed:
                found = None
            if found:
                return found
            await asyncio.sleep(0.05)


@contextmanager
def at_the_same_time(when: Callable[[], object], then: Callable[[], object]) -> Iterator[None]:
    """Do something in another thread as soon as a state is there."""

    def act() -> None:
        until(when)
        then()

    thread = threading.Thread(target=act)
    thread.start()
    yield
    thread.join(20)


def test_a_client_killed_in_the_middle_loses_answers_but_no_order(
    broker: BrokerProcess, tmp_path: Path
) -> None:
    """The client is a bare process without Django: it writes 300 orders and never hears a word."""
    broker.ask("set_terms", [], {"reply_delay_ms": 60_000})
    script = (
        "import asyncio, sys\n"
        "from tests.faults.bare_client import submit\n"
        "asyncio.run(submit(int(sys.argv[1]), 300))\n"
    )
    client = subprocess.Popen([sys.executable, "-c", script, str(broker.port)], cwd=ROOT)
    until(lambda: len(journal()) >= 100)
    client.kill()
    client.wait(10)
    until(lambda: len(journal()) == 300)
    assert journal() == [f"bare{number:03d}" for number in range(300)]


def test_every_call_of_an_adapter_can_be_asked_from_afar() -> None:
    """A new method of the protocol is noticed here, not by whoever needs it first."""
    said_here = {"capabilities", "form", "instrument_book", "submit", "disconnect"}
    said_here |= {"stream_quotes"}  # there are none
    asked = {name for name in dir(BrokerAdapter) if not name.startswith("_")} - said_here
    assert asked <= {SUBMIT, LISTEN, *CALLS}


# ---- NotSent: no byte left ---------------------------------------------------------------------
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
    until(lambda: kind(caller.place("late")["late"]) == "FILLED", 5)  # back-off ends by itself
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
        thread.join(5)
        listener.close()
        for one in accepted:
            one.close()


# ---- OutcomeUnknown: only the broker's word counts ----------------------------------------------
def test_a_lost_answer_is_unknown_and_the_order_is_found(network: Network) -> None:
    with Caller(network.port) as caller:
        caller.place("before")
        network.lose_replies()
        [outcome] = caller.place("mute", patience=0.5).values()
        assert isinstance(outcome, OutcomeUnknown)
        assert outcome.code is Code.REPLY_LOST
        network.heal()
        assert caller.run(_find(caller, "mute"))
    assert journal() == ["before", "mute"]


def test_a_reset_after_the_write_is_unknown(broker: BrokerProcess, network: Network) -> None:
    broker.ask("set_terms", [], {"reply_delay_ms": 60_000})
    with Caller(network.port) as caller:
        with at_the_same_time(journal, network.reset):
            [outcome] = caller.place("cut").values()
        assert isinstance(outcome, OutcomeUnknown)
        assert caller.run(_find(caller, "cut"))


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
        assert caller.run(_find(caller, "half"))


@pytest.mark.parametrize(
    "words",
    [
        b"no json at all",
        b'{"id":1,"outcomes":[[0,{"told":[{"kind":"GREMLIN"}]}]]}',
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


# ---- trouble on demand ---------------------------------------------------------------------------
def test_the_server_refuses_resets_and_answers_by_half(
    broker: BrokerProcess, caller: Caller
) -> None:
    assert kind(caller.place("one")["one"]) == "FILLED"
    _fault(broker, "refuse", 3)
    until(lambda: kind(caller.place("two")["two"]) == "NotSent")
    until(lambda: kind(caller.place("three")["three"]) == "FILLED")
    broker.ask("set_terms", [], {"reply_delay_ms": 60_000})
    with at_the_same_time(lambda: "four" in journal(), lambda: _fault(broker, "reset")):
        assert kind(caller.place("four")["four"]) == "OutcomeUnknown"
    broker.ask("set_terms", [], {"reply_delay_ms": 0})
    _fault(broker, "half_answers", 1)
    outcomes = [kind(caller.place(name)[name]) for name in ("five", "six")]
    assert outcomes == ["OutcomeUnknown", "FILLED"]


def test_the_server_stands_still_and_goes_on(broker: BrokerProcess) -> None:
    with Caller(broker.port) as caller:
        caller.place("before")
        _fault(broker, "stand_still", 3.0)
        until(lambda: kind(caller.place("during", patience=0.3)["during"]) == "OutcomeUnknown")
        assert caller.run(_find(caller, "during", 20))


def test_events_are_told_again_to_whoever_connects(broker: BrokerProcess, caller: Caller) -> None:
    caller.place("closed-by-owner")
    assert broker.ask("owner_closes", "A1", "") == 1
    told = caller.run(caller.adapter.events(10))
    caller.run(caller.adapter.acknowledge([report.event_id for report in told]))
    assert caller.run(caller.adapter.events(10)) == []
    _fault(broker, "replay_on_connect", 100)
    with Caller(broker.port) as other:
        until(lambda: other.run(other.adapter.events(10)) == told)
    _fault(broker, "replay_on_connect", 0)


def test_trouble_is_for_servers_that_were_started_for_it(broker: BrokerProcess) -> None:
    with pytest.raises(ReadFailed):
        _fault(broker, "gremlins")


def _fault(broker: BrokerProcess, name: str, *numbers: float) -> None:
    desk = broker.desk
    try:
        desk.fault(name, *numbers)
    finally:
        desk.close()


# ---- the process ---------------------------------------------------------------------------------
def test_sigterm_answers_what_was_asked_and_ends(broker: BrokerProcess, caller: Caller) -> None:
    broker.ask("set_terms", [], {"reply_delay_ms": 500})
    with at_the_same_time(journal, lambda: broker.signal(signal.SIGTERM)):
        told = caller.place("last")
    assert kind(told["last"]) == "FILLED"
    assert broker.process is not None
    assert broker.process.wait(10) == 0


def test_a_wrong_address_is_told_in_a_sentence() -> None:
    with pytest.raises(CommandError, match="HOST:PORT"):
        call_command("paper_broker", "--listen", "nowhere")


def test_a_taken_port_is_told_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CommandError, match="Cannot listen"):
            call_command("paper_broker", "--listen", where)
