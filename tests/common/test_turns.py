"""Turns: first come, first served; patience ends, but for those beyond the most."""

import os
import threading
import time

from common.db.shared_sessions.turns import Turns
from tests.until import until

SECONDS = 240.0
NO_PATIENCE = 0.01


def turns(*, usual: int = 1, most: int = 2, longest: float = SECONDS) -> Turns:
    return Turns(usual=usual, most=most, longest=longest)


def waiting_for(those: Turns, patience: float = SECONDS) -> threading.Thread:
    thread = threading.Thread(target=those.begin, args=(patience,), daemon=True)
    thread.start()
    return thread


def test_who_waits_longest_goes_on_first() -> None:
    those, served = turns(), list[int]()

    def go(number: int) -> None:
        those.begin(SECONDS)
        served.append(number)
        those.end()

    those.begin(SECONDS)
    threads = [threading.Thread(target=go, args=(number,)) for number in range(3)]
    for number, thread in enumerate(threads, start=1):
        thread.start()
        until(lambda number=number: those.waiting == number)  # type: ignore[misc]
    those.end()
    for thread in threads:
        thread.join(SECONDS)
    assert served == [0, 1, 2]


def test_threads_out_of_patience_are_more_up_to_the_most_and_first_come() -> None:
    """A slow machine would have one session for each job, and each plans everything for itself."""
    those = turns()
    those.begin(SECONDS)
    those.begin(NO_PATIENCE)
    third = waiting_for(those, NO_PATIENCE)
    until(lambda: [one.is_impatient for one in those._waiting] == [True])
    assert third.is_alive()
    fourth = waiting_for(those, NO_PATIENCE)
    until(lambda: [one.is_impatient for one in those._waiting] == [True, True])
    those.end()
    third.join(SECONDS)
    assert not third.is_alive()
    assert (those.waiting, fourth.is_alive()) == (1, True)
    those.end()
    fourth.join(SECONDS)
    assert not fourth.is_alive()


def test_those_that_hang_hold_up_others_for_the_longest_wait_only() -> None:
    those = turns(most=1, longest=0.2)
    those.begin(SECONDS)
    began = time.monotonic()
    those.begin(NO_PATIENCE)
    assert 0.2 <= time.monotonic() - began < SECONDS


def test_turn_that_came_too_late_is_not_lost() -> None:
    those = turns()
    those.begin(SECONDS)
    those.begin(NO_PATIENCE)
    for _ in range(2):
        those.end()
    began = time.monotonic()
    those.begin(SECONDS)
    assert time.monotonic() - began < SECONDS / 2


def test_forked_process_has_all_turns() -> None:
    those = turns()
    those.begin(SECONDS)
    if not (child := os.fork()):
        began = time.monotonic()
        those.begin(SECONDS)
        os._exit(time.monotonic() - began > SECONDS / 2)
    assert os.waitpid(child, 0)[1] == 0
