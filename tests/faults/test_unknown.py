"""Deaths of those who find out what became of others' orders."""

import pytest

from tests.faults.fleet import EVERYTHING
from tests.faults.place import Place, Story
from tests.faults.test_entries import all_ended

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180, func_only=True)]
N = 50


@pytest.mark.parametrize("deed", ["kill", "stop"])
def test_a_lost_answer_is_looked_up_though_the_first_who_asked_died(
    place: Place, deed: str
) -> None:
    place.broker(silent_after=True)
    victim = place.fleet.worker("victim", faults=f"ask.answered:{deed}")
    place.quote()
    place.hands.do("publish", feed=N)
    place.wait(lambda: not victim.alive or victim.stopped, "nobody asked")
    story = Story(place)
    place.fleet.worker("successor")
    place.settle()
    story.end()
    if deed == "stop":
        victim.go_on()
        place.fleet.wait_for_lease(victim)
        victim.end()
    assert story.in_flight > 0
    all_ended(place, N, absent_at_most=0)


def test_who_takes_over_from_the_dead_may_die_at_it(place: Place) -> None:
    place.broker(reply_delay_ms=300)
    first = place.fleet.worker("first", faults="claim.committed:kill")
    place.quote()
    place.hands.do("publish", feed=N)
    place.wait(lambda: not first.alive, "the first did not die")
    second = place.fleet.worker("second", faults="takeover.committed:kill")
    place.wait(lambda: not second.alive, "the second did not die")
    story = Story(place)
    place.fleet.worker("third")
    place.settle()
    story.end()
    all_ended(place, N, absent_at_most=N)


@pytest.mark.parametrize("deed", ["kill", "stop"])
@pytest.mark.parametrize("proof", [1, 2])
def test_an_absence_is_proven_twice_though_the_prover_died(
    place: Place, proof: int, deed: str
) -> None:
    place.broker(silent_before=True)
    victim = place.fleet.worker("victim", faults=f"proof.committed:{deed}:{proof}")
    place.quote()
    place.hands.do("publish", feed=N)
    place.wait(lambda: not victim.alive or victim.stopped, "nothing was proven", 60)
    story = Story(place)
    place.broker(silent_before=False)
    place.fleet.worker("successor")
    place.settle()
    story.end()
    if deed == "stop":
        victim.go_on()
        place.fleet.wait_for_lease(victim)
        victim.end()
    assert place.count.states() == {"FAILED NEVER_ARRIVED": N}
    assert place.count.accepted() == 0
    assert place.count.wrong(N) == {}


@pytest.mark.parametrize("point", ["broker.received", "broker.accepted"])
@pytest.mark.parametrize("deed", ["kill", "stop"])
def test_the_broker_itself_dies_or_stands_still(place: Place, point: str, deed: str) -> None:
    broker = place.venue.start(faults=f"{point}:{deed}:2")
    place.fleet.worker(queues=EVERYTHING)
    place.quote()
    place.hands.do("publish", feed=200)
    place.wait(lambda: not broker.alive or broker.stopped, "nobody came there")
    story = Story(place)
    if deed == "stop":  # longer than any answer is waited for
        place.wait(lambda: place.count.states().get("UNKNOWN", 0) > 0, "nothing became unknown")
        broker.go_on()
    else:
        place.venue.start()
    place.quote()
    place.settle()
    story.end()
    place.venue.kill()  # the next case has one without a fault
    place.venue.start()
    all_ended(place, 200, absent_at_most=story.in_flight)
