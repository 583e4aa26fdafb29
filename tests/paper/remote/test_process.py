"""The paper broker as a process of its own: what it accepted stays, trouble on demand, its end."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from brokers.base import BrokerAdapter, ReadFailed
from tests.fakes.paper_server.protocol import CALLS, LISTEN, SUBMIT
from tests.paper.broker_process import (
    ROOT,
    BrokerProcess,
    Caller,
    journal,
    kind,
    until,
)
from tests.paper.remote.helpers import at_the_same_time, fault, find

pytestmark = [pytest.mark.django_db(transaction=True)]


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
    [found] = caller.run(find(caller, "first"))
    assert found.fills[0].quantity == 1000
    assert journal() == ["first"]


def test_a_desk_from_before_asks_the_broker_that_was_started_anew(broker: BrokerProcess) -> None:
    desk = broker.desk
    desk.call("list_instruments")
    broker.kill()
    broker.start()
    desk.call("list_instruments")  # on a line of its own: nothing is asked on the one that is dead
    desk.close()


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


def test_the_server_refuses_resets_and_answers_by_half(
    broker: BrokerProcess, caller: Caller
) -> None:
    assert kind(caller.place("one")["one"]) == "FILLED"
    fault(broker, "refuse", 3)
    until(lambda: kind(caller.place("two")["two"]) == "NotSent")
    until(lambda: kind(caller.place("three")["three"]) == "FILLED")
    broker.ask("set_terms", [], {"reply_delay_ms": 60_000})
    with at_the_same_time(lambda: "four" in journal(), lambda: fault(broker, "reset")):
        assert kind(caller.place("four")["four"]) == "OutcomeUnknown"
    broker.ask("set_terms", [], {"reply_delay_ms": 0})
    fault(broker, "half_answers", 1)
    outcomes = [kind(caller.place(name)[name]) for name in ("five", "six")]
    assert outcomes == ["OutcomeUnknown", "FILLED"]


def test_the_server_stands_still_and_goes_on(broker: BrokerProcess) -> None:
    with Caller(broker.port) as caller:
        caller.place("before")
        fault(broker, "stand_still", 3.0)
        until(lambda: kind(caller.place("during", patience=0.3)["during"]) == "OutcomeUnknown")
        assert caller.run(find(caller, "during", 20))


def test_events_are_told_again_to_whoever_connects(broker: BrokerProcess, caller: Caller) -> None:
    caller.place("closed-by-owner")
    assert broker.ask("owner_closes", "A1", "") == 1
    told = caller.run(caller.adapter.events(10))
    caller.run(caller.adapter.acknowledge([report.event_id for report in told]))
    assert caller.run(caller.adapter.events(10)) == []
    fault(broker, "replay_on_connect", 100)
    with Caller(broker.port) as other:
        until(lambda: other.run(other.adapter.events(10)) == told)
    fault(broker, "replay_on_connect", 0)


def test_trouble_is_for_servers_that_were_started_for_it(broker: BrokerProcess) -> None:
    with pytest.raises(ReadFailed):
        fault(broker, "gremlins")


def test_sigterm_answers_what_was_asked_and_ends(broker: BrokerProcess, caller: Caller) -> None:
    broker.ask("set_terms", [], {"reply_delay_ms": 500})
    with at_the_same_time(journal, lambda: broker.signal(signal.SIGTERM)):
        told = caller.place("last")
    assert kind(told["last"]) == "FILLED"
    assert broker.process is not None
    assert broker.process.wait(10) == 0
