"""With a guard taken away the counters are not 0: the cases beside these do not pass by luck."""

import pytest

from tests.faults.place import Place

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180, func_only=True)]
N = 50


def test_without_the_send_deadline_a_stopped_worker_sends_what_was_called_absent(
    place: Place,
) -> None:
    victim = place.fleet.worker("victim", faults="wire.begin:stop", without="deadline", wait=False)
    other = place.fleet.worker("other", wait=False)
    place.fleet.wait_for_lease(victim, other)
    place.quote()
    other.stop()
    place.hands.do("publish", feed=N)
    place.wait(lambda: victim.stopped, "nobody came there")
    other.go_on()
    place.settle()
    assert place.count.states() == {"FAILED NEVER_ARRIVED": N}
    victim.go_on()
    place.wait(lambda: place.count.accepted() == N, "nothing was sent late")
    wrong = place.count.wrong(N)
    assert wrong["journal RISEN"] == N
    assert wrong["audit RISEN"] == N


def test_with_one_proof_alone_an_order_that_arrives_late_rises(place: Place) -> None:
    place.broker(latency_ms=8_000)
    place.fleet.worker(without="second_proof")
    place.quote()
    place.hands.do("publish", feed=N)
    place.wait(lambda: place.count.accepted() == N, "they did not arrive")
    wrong = place.count.wrong(N)
    assert wrong["journal RISEN"] == N
    assert wrong["audit RISEN"] == N


def test_where_a_lost_answer_counts_as_not_sent_orders_double(place: Place) -> None:
    place.broker(silent_after=True)
    place.fleet.worker(without="doubt")
    place.quote()
    place.hands.do("publish", feed=N)
    place.wait(lambda: place.count.accepted() >= 2 * N, "nothing was sent twice")
    wrong = place.count.wrong(N)
    assert wrong["journal DUP"] >= N
    assert wrong["audit DUP"] == N


def test_where_nobody_listens_positions_are_ghosts(opened: Place) -> None:
    opened.quote()
    opened.fleet.worker("deaf", "exits", without="events")
    opened.quote(bid="1.09400", ask="1.09410")
    opened.wait(lambda: opened.count.untold() == 0, "the events are still waiting")
    wrong = opened.count.wrong(200)
    assert wrong["journal GHOST"] == 200
    assert wrong["audit GHOST"] == 200
