"""Brokers that time out, refuse or answer in part, and faults of the network to them."""

from collections.abc import Callable, Iterator

import pytest

from tests.faults.conftest import OPENED
from tests.faults.environment import FaultEnvironment, Scenario
from tests.faults.network_proxy import Network
from tests.faults.process_fleet import EVERYTHING
from tests.faults.test_entries import all_ended

pytestmark = [pytest.mark.faults]
N = 200
FIRST_SIGNAL = "SELECT min(id) FROM signals_signal"


@pytest.fixture
def network(environment: FaultEnvironment) -> Iterator[Network]:
    with Network(("127.0.0.1", environment.venue.port)) as network:
        environment.fleet.environ["PAPER_SERVER"] = network.address
        yield network


@pytest.fixture
def exits_network(opened: FaultEnvironment) -> Iterator[Network]:
    with Network(("127.0.0.1", opened.venue.port)) as network:
        opened.fleet.environ["PAPER_SERVER"] = network.address
        yield network


def publish(environment: FaultEnvironment) -> Scenario:
    environment.fleet.worker(queues=EVERYTHING)
    environment.quote()
    environment.operator.do("publish", feed=N)
    return Scenario(environment)


def fault_has_effect(environment: FaultEnvironment) -> bool:
    """Return whether the fault has affected an order, or came too late for all of them."""
    affected = (
        "SELECT count(*) FROM execution_order"
        " WHERE send_retries > 0 OR status = 'UNKNOWN' OR status = 'PENDING' AND waiting_since IS"
        " NOT NULL"
    )
    return environment.ours.value(affected) > 0 or environment.count.unsettled() == 0


@pytest.mark.quick
def test_lost_replies_are_looked_up_and_nothing_is_sent_again(
    environment: FaultEnvironment,
) -> None:
    environment.broker(silent_after=True)
    scenario = publish(environment)
    environment.wait(
        lambda: environment.count.states().get("UNKNOWN", 0) > 0, "nothing became unknown"
    )
    environment.settle()
    scenario.end()
    assert environment.filled() == N
    all_ended(environment, N, absent_at_most=0)


def test_orders_that_never_arrive_are_confirmed_absent(environment: FaultEnvironment) -> None:
    environment.broker(silent_before=True)
    scenario = publish(environment)
    environment.settle()
    scenario.end()
    assert environment.count.states() == {"FAILED NEVER_ARRIVED": N}
    assert environment.count.accepted() == 0
    assert environment.count.wrong(N) == {}


def test_orders_arriving_after_all_time_outs_are_found(
    environment: FaultEnvironment,
) -> None:
    environment.broker(latency_ms=7_000)  # later than answer_by: the first look finds nothing
    scenario = publish(environment)
    environment.settle()
    scenario.end()
    assert environment.filled() == N
    all_ended(environment, N, absent_at_most=0)


def test_replies_after_ten_seconds_are_not_waited_for(environment: FaultEnvironment) -> None:
    environment.broker(reply_delay_ms=10_000)
    scenario = publish(environment)
    environment.settle()
    scenario.end()
    assert environment.filled() == N
    all_ended(environment, N, absent_at_most=0)


def test_every_third_reply_is_lost(environment: FaultEnvironment) -> None:
    environment.broker(drop_every_nth=1)
    environment.books.rows("UPDATE paper_account SET drop_every_nth = 0 WHERE id % 3 > 0")
    scenario = publish(environment)
    environment.settle()
    scenario.end()
    assert environment.filled() == N
    all_ended(environment, N, absent_at_most=0)


@pytest.mark.parametrize(
    "fault",
    [Network.refuse, Network.reset, Network.halve_replies, Network.partition, Network.lose_replies],
    ids=lambda fault: fault.__name__,
)
def test_network_fails_during_fan_out_and_recovers(
    environment: FaultEnvironment, network: Network, fault: Callable[[Network], None]
) -> None:
    environment.broker(reply_delay_ms=300)
    environment.fleet.worker(queues=EVERYTHING)
    environment.quote()
    environment.operator.do("publish", feed=N)
    environment.wait(lambda: environment.count.in_flight() > 0, "nothing under way")
    scenario = Scenario(environment)
    fault(network)
    environment.wait(lambda: fault_has_effect(environment), "the fault had no effect")
    network.heal()
    environment.settle()
    scenario.end()
    all_ended(environment, N, absent_at_most=N)


@pytest.mark.parametrize(
    "fault",
    [Network.refuse, Network.reset, Network.halve_replies, Network.partition],
    ids=lambda fault: fault.__name__,
)
def test_network_fails_during_exits_and_recovers(
    opened: FaultEnvironment, exits_network: Network, fault: Callable[[Network], None]
) -> None:
    opened.broker(reply_delay_ms=300)
    opened.fleet.worker("worker", EVERYTHING)
    opened.quote()
    opened.operator.do("publish", action="CLOSE", refers_to=opened.ours.value(FIRST_SIGNAL))
    opened.wait(lambda: opened.count.in_flight() > 0, "nothing under way")
    scenario = Scenario(opened)
    fault(exits_network)
    opened.wait(lambda: fault_has_effect(opened), "the fault had no effect")
    exits_network.heal()
    opened.wait(lambda: opened.count.open_positions() == 0, "not flat", 60)
    opened.settle()
    scenario.end()
    assert opened.count.wrong(OPENED) == {}


def test_worker_dies_in_partition_that_recovers(
    environment: FaultEnvironment, network: Network
) -> None:
    environment.broker(reply_delay_ms=300)
    victim = environment.fleet.worker("victim", EVERYTHING)
    environment.quote()
    environment.operator.do("publish", feed=N)
    environment.wait(lambda: environment.count.in_flight() > 0, "nothing under way")
    network.partition()
    victim.kill()
    scenario = Scenario(environment)
    environment.fleet.worker("successor", EVERYTHING)
    network.heal()
    environment.settle()
    scenario.end()
    all_ended(environment, N, absent_at_most=scenario.in_flight)
