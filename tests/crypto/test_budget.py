"""The token bucket: exits first, rests when told, never more than it may."""

import asyncio

from brokers.crypto.budget import Bucket


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def test_a_part_is_kept_for_what_is_urgent() -> None:
    clock = Clock()
    bucket = Bucket(1.0, 4.0, clock=clock)
    taken = [bucket._take(1, urgent=False) for _ in range(3)]
    assert taken == [0.0, 0.0, 0.0]
    assert bucket._take(1, urgent=False) > 0
    assert bucket._take(1, urgent=True) == 0.0
    assert bucket._take(1, urgent=True) == 1.0


def test_it_fills_again_with_time_and_no_more_than_full() -> None:
    clock = Clock()
    bucket = Bucket(2.0, 4.0, clock=clock)
    for _ in range(4):
        bucket._take(1, urgent=True)
    clock.at += 1.0
    assert [bucket._take(1, urgent=True) for _ in range(2)] == [0.0, 0.0]
    clock.at += 1000.0
    assert sum(bucket._take(1, urgent=True) == 0.0 for _ in range(10)) == 4


def test_it_rests_when_the_exchange_wants_no_more() -> None:
    clock = Clock()
    bucket = Bucket(5.0, clock=clock)
    bucket.rest(10)
    assert 10 < bucket._take(1, urgent=True) < 11
    clock.at += 10.5
    assert bucket._take(1, urgent=True) == 0.0


def test_whoever_waits_gets_it() -> None:
    bucket = Bucket(200.0, 1.0)

    async def three() -> None:
        for _ in range(3):
            await bucket.acquire(urgent=True)

    asyncio.run(asyncio.wait_for(three(), 2))
