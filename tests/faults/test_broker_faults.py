"""Brokers that time out, refuse, answer by halves; and the network between us and them."""

from collections.abc import Callable, Iterator

import pytest

from tests.faults.conftest import OPENED
from tests.faults.fleet import EVERYTHING
from tests.faults.network import Network
from tests.faults.place import Place, Story
from tests.faults.test_entries import all_ended

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240, func_only=True)]
N = 200
FIRST_SIGNAL = "SELECT min(id) FROM signals_signal"


@pytest.fixture
def network(place: Place) -> Iterator[Network]:
    with Network(("127.0.0.1", place.venue.port)) as network:
        place.fleet.environ["FILLCAST_PAPER_BROKER"] = network.address
        yield network


@pytest.fixture
def exits_network(opened: Place) -> Iterator[Network]:
    with Network(("127.0.0.1", opened.venue.port)) as network:
        opened.fleet.environ["FILLCAST_PAPER_BROKER"] = network.address
        yield network


def publish(place: Place) -> Story:
    place.fleet.worker(queues=EVERYTHING)
    place.quote()
    place.hands.do("publish", feed=N)
    return Story(place)


def noticed(place: Place) -> bool:
    """Whether the trouble has reached an order, or came too late for all of them."""
    troubled = (
        "SELECT count(*) FROM execution_order"
        " WHERE tries > 0 OR status = 'UNKNOWN' OR status = 'PENDING' AND waiting_since IS NOT NULL"
    )
    return place.ours.value(troubled) > 0 or place.count.unsettled() == 0


@pytest.mark.quick
def test_answers_that_never_come_are_looked_up_and_nothing_is_sent_again(place: Place) -> None:
    place.broker(silent_after=True)
    story = publish(place)
    place.wait(lambda: place.count.states().get("UNKNOWN", 0) > 0, "nothing became unknown")
    place.settle()
    story.end()
    assert place.filled() == N
    all_ended(place, N, absent_at_most=0)


def test_orders_that_never_arrive_are_proven_absent(place: Place) -> None:
    place.broker(silent_before=True)
    story = publish(place)
    place.settle()
    story.end()
    assert place.count.states() == {"FAILED NEVER_ARRIVED": N}
    assert place.count.accepted() == 0
    assert place.count.wrong(N) == {}


def test_orders_that_arrive_after_everybody_gave_up_waiting_are_found(place: Place) -> None:
    place.broker(latency_ms=7_000)  # later than answer_by: the first look finds nothing
    story = publish(place)
    place.settle()
    story.end()
    assert place.filled() == N
    all_ended(place, N, absent_at_most=0)


def test_answers_that_take_ten_seconds_are_not_waited_for(place: Place) -> None:
    place.broker(reply_delay_ms=10_000)
    story = publish(place)
    place.settle()
    story.end()
    assert place.filled() == N
    all_ended(place, N, absent_at_most=0)


def test_every_third_answer_is_lost(place: Place) -> None:
    place.broker(drop_every_nth=1)
    place.books.rows("UPDATE paper_account SET drop_every_nth = 0 WHERE id % 3 > 0")
    story = publish(place)
    place.settle()
    story.end()
    assert place.filled() == N
    all_ended(place, N, absent_at_most=0)


@pytest.mark.parametrize(
    "trouble",
    [Network.refuse, Network.reset, Network.halve_replies, Network.partition, Network.lose_replies],
    ids=lambda trouble: trouble.__name__,
)
def test_the_network_fails_in_a_fan_out_and_heals(
    place: Place, network: Network, trouble: Callable[[Network], None]
) -> None:
    place.broker(reply_delay_ms=300)
    place.fleet.worker(queues=EVERYTHING)
    place.quote()
    place.hands.do("publish", feed=N)
    place.wait(lambda: place.count.in_flight() > 0, "nothing under way")
    story = Story(place)
    trouble(network)
    place.wait(lambda: noticed(place), "nobody noticed")
    network.heal()
    place.settle()
    story.end()
    all_ended(place, N, absent_at_most=N)


@pytest.mark.parametrize(
    "trouble",
    [Network.refuse, Network.reset, Network.halve_replies, Network.partition],
    ids=lambda trouble: trouble.__name__,
)
def test_the_network_fails_while_everything_is_closed_and_heals(
    opened: Place, exits_network: Network, trouble: Callable[[Network], None]
) -> None:
    opened.broker(reply_delay_ms=300)
    opened.fleet.worker("worker", EVERYTHING)
    opened.quote()
    opened.hands.do("publish", action="CLOSE", refers_to=opened.ours.value(FIRST_SIGNAL))
    opened.wait(lambda: opened.count.in_flight() > 0, "nothing under way")
    story = Story(opened)
    trouble(exits_network)
    opened.wait(lambda: noticed(opened), "nobody noticed")
    exits_network.heal()
    opened.wait(lambda: opened.count.open_positions() == 0, "not flat", 60)
    opened.settle()
    story.end()
    assert opened.count.wrong(OPENED) == {}


def test_a_worker_dies_in_a_partition_that_heals_afterwards(place: Place, network: Network) -> None:
    place.broker(reply_delay_ms=300)
    victim = place.fleet.worker("victim", EVERYTHING)
    place.quote()
    place.hands.do("publish", feed=N)
    place.wait(lambda: place.count.in_flight() > 0, "nothing under way")
    network.partition()
    victim.kill()
    story = Story(place)
    place.fleet.worker("successor", EVERYTHING)
    network.heal()
    place.settle()
    story.end()
    all_ended(place, N, absent_at_most=story.in_flight)
