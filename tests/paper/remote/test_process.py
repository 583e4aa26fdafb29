"""The paper broker in a separate process: accepted orders stay; its faults; its shutdown."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from brokers.base import BrokerAdapter, ReadFailed
from tests.fakes.paper_server.protocol import CALLS, LISTEN, SUBMIT
from tests.paper.broker_process import ROOT, BrokerProcess, Caller, journal, kind
from tests.paper.remote.helpers import at_the_same_time, fault, find
from tests.until import until

pytestmark = [pytest.mark.usefixtures("inline_commits")]


@pytest.mark.processes
def test_500_orders_of_one_call_are_reported_and_accepted_once(caller: Caller) -> None:
    ids = [f"n{number:03d}" for number in range(500)]
    outcomes = caller.place(*ids)
    assert {kind(outcome) for outcome in outcomes.values()} == {"FILLED"}
    assert sorted(outcomes) == ids == journal()


@pytest.mark.processes
def test_accepted_order_survives_a_kill_of_the_broker(
    broker: BrokerProcess, caller: Caller
) -> None:
    caller.place("first")
    broker.kill()
    broker.start()
    [report] = caller.run(find(caller, "first"))
    assert report.fills[0].quantity == 1000
    assert journal() == ["first"]


@pytest.mark.processes
def test_sync_client_reconnects_to_restarted_broker(broker: BrokerProcess) -> None:
    client = broker.desk
    client.call("list_instruments")
    broker.kill()
    broker.start()
    client.call("list_instruments")  # on a new connection, not on the dead one
    client.close()


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_killed_client_loses_replies_but_no_order(broker: BrokerProcess, tmp_path: Path) -> None:
    """The client is a process without Django: it writes 300 orders and gets no answer."""
    broker.ask("set_terms", [], {"reply_delay_ms": 60_000})
    script = (
        "import asyncio, sys\n"
        "from tests.faults.bare_client import submit\n"
        "asyncio.run(submit(int(sys.argv[1]), 300))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(broker.port)], cwd=ROOT)
    until(lambda: len(journal()) >= 100)
    process.kill()
    process.wait(60)
    until(lambda: len(journal()) == 300)
    assert journal() == [f"bare{number:03d}" for number in range(300)]


def test_every_adapter_call_exists_in_the_protocol() -> None:
    """A new method of the protocol must be added to the server."""
    local_calls = {"capabilities", "form", "instrument_book", "submit", "disconnect"}
    local_calls |= {"stream_quotes", "cash_flows", "funding"}  # not supported
    remote_calls = {name for name in dir(BrokerAdapter) if not name.startswith("_")} - local_calls
    assert remote_calls <= {SUBMIT, LISTEN, *CALLS}


@pytest.mark.processes
def test_server_faults_refuse_reset_and_truncate(broker: BrokerProcess, caller: Caller) -> None:
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


@pytest.mark.processes
def test_server_stalls_and_continues(broker: BrokerProcess) -> None:
    with Caller(broker.port) as caller:
        caller.place("before")
        fault(broker, "stand_still", 4.0)
        until(lambda: kind(caller.place("during", reply_timeout=0.3)["during"]) == "OutcomeUnknown")
        assert caller.run(find(caller, "during", 20))


@pytest.mark.processes
def test_events_are_replayed_to_new_clients(broker: BrokerProcess, caller: Caller) -> None:
    caller.place("closed-by-owner")
    assert broker.ask("owner_closes", "A1", "") == 1
    events = caller.run(caller.adapter.events(10))
    caller.run(caller.adapter.acknowledge([report.event_id for report in events]))
    assert caller.run(caller.adapter.events(10)) == []
    fault(broker, "replay_on_connect", 100)
    with Caller(broker.port) as other:
        until(lambda: other.run(other.adapter.events(10)) == events)
    fault(broker, "replay_on_connect", 0)


@pytest.mark.processes
def test_unknown_fault_is_refused(broker: BrokerProcess) -> None:
    with pytest.raises(ReadFailed):
        fault(broker, "unknown")


@pytest.mark.processes
def test_sigterm_answers_pending_calls_then_ends(broker: BrokerProcess, caller: Caller) -> None:
    broker.ask("set_terms", [], {"reply_delay_ms": 500})
    with at_the_same_time(journal, lambda: broker.signal(signal.SIGTERM)):
        outcomes = caller.place("last")
    assert kind(outcomes["last"]) == "FILLED"
    assert broker.process is not None
    assert broker.process.wait(60) == 0
