"""The rule: how much is admitted, and who goes first. In one process, and the same in Redis."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from redis import Redis

from brokers.rate_limits.redis_bucket import SCRIPT, BucketRequest, script_arguments
from brokers.rate_limits.token_bucket import Grant, Priority, Rate, RequestBatch, TokenBucket

RATE = Rate(per_second=10, burst=8)
# The clock is the test's own: while a busy machine thinks, no bucket fills and no place ends.
SCRIPT_AT = SCRIPT.replace("redis.call('TIME')", "{table.remove(ARGV), 0}")
NOW = 1_800_000_000.0
LOOKUP, ENTRY, READ = Priority.LOOKUP, Priority.ENTRY, Priority.READ


def entries(count: int) -> list[tuple[float, Priority]]:
    return [(1, ENTRY)] * count


def test_full_bucket_keeps_a_reserve_for_exits() -> None:
    turn = TokenBucket().take(0.0, RATE, RequestBatch(others=entries(10)))
    assert turn.others == 6
    assert turn.wait == pytest.approx(0.1)


def test_each_priority_leaves_a_reserve_for_higher_ones() -> None:
    """Of 8 two are kept: look-ups leave one of them, entries both, reads as much again."""
    for priority, admitted in ((LOOKUP, 7), (ENTRY, 6), (READ, 4)):
        assert (
            TokenBucket().take(0.0, RATE, RequestBatch(others=[(1, priority)] * 10)).others
            == admitted
        )
    level = TokenBucket()
    level.take(0.0, RATE, RequestBatch(others=[(1, READ)] * 10))
    assert level.take(0.0, RATE, RequestBatch(others=[(1, ENTRY), (1, READ)])).others == 1
    assert (
        level.take(0.0, RATE, RequestBatch(others=[(1, LOOKUP), (1, LOOKUP), (1, READ)])).others
        == 2
    )


def test_exits_use_the_reserve_and_are_first_in_line() -> None:
    level = TokenBucket()
    level.take(0.0, RATE, RequestBatch(others=entries(6)))
    turn = level.take(0.0, RATE, RequestBatch(urgent=[(1, None)] * 4, others=entries(1)))
    assert turn.urgent == pytest.approx([0, 0, 0.1, 0.2])
    assert turn.others == 0
    assert turn.wait == pytest.approx(0.5)  # two owed, two kept, one wanted


def test_exit_that_would_be_late_takes_no_tokens() -> None:
    level = TokenBucket()
    level.empty(0.0)
    turn = level.take(0.0, RATE, RequestBatch(urgent=[(5, 0.4), (1, 0.4)]))
    assert turn.urgent[0] is None
    assert turn.urgent[1] == pytest.approx(0.1)


def test_oversized_request_waits_for_a_full_bucket_and_leaves_a_debt() -> None:
    level = TokenBucket()
    assert level.take(0.0, RATE, RequestBatch(others=[(20, ENTRY)])).others == 1
    assert level.take(0.0, RATE, RequestBatch(others=entries(1))).wait == pytest.approx(1.5)


def test_back_off_delays_all_requests() -> None:
    level = TokenBucket()
    turn = level.take(0.0, RATE, RequestBatch(urgent=[(1, None)], others=entries(1), back_off=30))
    assert turn.urgent == pytest.approx([30.1])
    assert turn.others == 0
    again = level.take(
        10.0, RATE, RequestBatch(others=entries(1), back_off=20)
    )  # reported again: the same end
    assert again.wait == pytest.approx(20.4)  # one owed, two kept, one wanted


def test_tokens_are_taken_ahead_only_from_a_large_half_full_bucket() -> None:
    large = Rate(per_second=200, burst=100)
    level = TokenBucket()
    assert level.take(0.0, large, RequestBatch(others=entries(1), ahead=large.ahead)).ahead == 4
    level.empty(0.0)
    assert level.take(0.2, large, RequestBatch(others=entries(1), ahead=large.ahead)).ahead == 0
    assert RATE.ahead == 0


@pytest.fixture
def redis() -> Iterator[Redis]:
    with Redis.from_url(settings.REDIS_URL) as client:
        client.delete("budget:same rule")
        yield client


def test_redis_script_gives_the_same_results(redis: Redis) -> None:
    """Random asks, the clock given: both grant the same."""
    dice, now, level = random.Random(4), NOW, TokenBucket()
    redis.hset("budget:same rule", mapping={"level": RATE.burst, "at": now})
    for _ in range(1000):
        now += dice.choice([0.0, 0.01, 0.05, 0.3, 2.0])
        wanted = RequestBatch(
            urgent=[
                (dice.randint(1, 10), dice.choice([None, 0.13, 1.07]))
                for _ in range(dice.choice([0, 0, 1, 3]))
            ],
            others=sorted(
                [
                    (
                        dice.randint(1, 10),
                        dice.choice([Priority.LOOKUP, Priority.ENTRY, Priority.READ]),
                    )
                    for _ in range(dice.randint(0, 4))
                ],
                key=lambda one: one[1],
            ),
            ahead=dice.choice([0, 2]),
            back_off=dice.choice([0.0] * 20 + [1.5]),
        )
        reply = run(redis, BucketRequest("same rule", RATE, wanted), now=now)
        wait, others, ahead, *urgent = (float(word) for word in reply[1:])
        mine = level.take(now, RATE, wanted)
        assert (others, ahead) == (mine.others, mine.ahead)
        assert wait == pytest.approx(mine.wait, abs=1e-3)
        expected = [-1.0 if w is None else w for w in mine.urgent]
        assert urgent == pytest.approx(expected, abs=1e-3)


def run(redis: Redis, asked: BucketRequest, me: str = "me", now: float = NOW) -> list[Any]:
    assert SCRIPT_AT != SCRIPT
    reply: list[Any] = redis.eval(
        SCRIPT_AT, 1, "budget:same rule", *script_arguments(asked, me), f"{now:.6f}"
    )
    return reply


def level_is(redis: Redis, level: float) -> None:
    redis.hset("budget:same rule", mapping={"level": level, "at": f"{NOW:.6f}"})


def ask(redis: Redis, me: str, wanted: RequestBatch) -> Grant:
    reply = run(redis, BucketRequest("x", RATE, wanted), me)
    return Grant([float(word) for word in reply[4:]], reply[2], float(reply[1]), reply[3])


def test_large_request_is_not_starved_by_small_ones(redis: Redis) -> None:
    """Who was refused comes next, before every other process."""
    slow = RequestBatch(others=[(6, ENTRY)])
    ask(redis, "a", RequestBatch(others=entries(6)))
    assert ask(redis, "a", slow).others == 0  # 2 of 8 are left: it waits, and has the next turn
    level_is(redis, 7)  # now there is something for a small one
    assert ask(redis, "b", RequestBatch(others=entries(1))).others == 0
    assert ask(redis, "b", RequestBatch(urgent=[(1, None)])).urgent == [
        0
    ]  # an exit never waits for it
    level_is(redis, 8)
    assert ask(redis, "a", slow).others == 1
    level_is(redis, 8)
    assert ask(redis, "b", RequestBatch(others=entries(1))).others == 1


def test_higher_priority_overtakes_another_process(redis: Redis) -> None:
    """What is held is asked for before an entry, an entry goes before the reads of all others."""

    read, entry = RequestBatch(others=[(1, READ)]), RequestBatch(others=[(4, ENTRY)])
    level_is(redis, 4)
    assert ask(redis, "a", read).others == 0  # it comes next, before all other reads
    level_is(redis, 5.5)
    assert ask(redis, "b", entry).others == 0  # and this before it: the line is b's now
    assert ask(redis, "a", read).others == 0  # though there is enough for a read
    assert ask(redis, "c", RequestBatch(others=[(1, LOOKUP)])).others == 1
    assert ask(redis, "c", entry).others == 0  # a priority's own order is kept
    level_is(redis, 6.5)
    assert ask(redis, "c", entry).others == 0
    reply = ask(redis, "b", RequestBatch(others=[(4, ENTRY), (1, READ)]))
    assert reply.others == 1
    assert reply.wait > 0


@pytest.mark.parametrize("look_up_waits", [False, True])
def test_place_in_line_is_kept_while_higher_priorities_are_admitted(
    redis: Redis, look_up_waits: bool
) -> None:
    """A busy process asks for more and more of a lower priority than what stands in line."""

    both = RequestBatch(others=[(1, LOOKUP), (6, READ)])
    level_is(redis, 1)
    assert ask(redis, "a", RequestBatch(others=[(6, READ)])).others == 0
    if look_up_waits:
        assert ask(redis, "a", both).others == 0
    for _ in range(3):
        level_is(redis, 5)
        assert ask(redis, "a", both).others == 1  # the look-up
        assert (
            ask(redis, "b", RequestBatch(others=[(1, ENTRY)])).others == 1
        )  # stands before it, too
        level_is(redis, 7)
        assert ask(redis, "b", RequestBatch(others=[(1, READ)])).others == 0
    level_is(redis, 8)
    assert ask(redis, "a", RequestBatch(others=[(6, READ)])).others == 1
    level_is(redis, 7)
    assert ask(redis, "b", RequestBatch(others=[(1, READ)])).others == 1


def test_place_in_line_ends_with_its_request(redis: Redis) -> None:
    """A read whose caller gave up keeps no place for the entries of its process."""

    level_is(redis, 3)
    assert ask(redis, "a", RequestBatch(others=[(6, READ)])).others == 0
    level_is(redis, 3)
    assert (
        ask(redis, "a", RequestBatch(others=entries(3))).others == 1
    )  # one, and it comes next no more
    level_is(redis, 3)
    assert ask(redis, "b", RequestBatch(others=entries(3))).others == 1


@pytest.mark.parametrize("a_read_waits", [False, True])
def test_entries_of_two_busy_processes_share_the_rate(redis: Redis, a_read_waits: bool) -> None:
    """Also where one of them stood in line with a read before, and its entries go before that."""

    reads: list[tuple[float, Priority]] = [(6, READ)] if a_read_waits else []
    level_is(redis, 1)
    ask(redis, "a", RequestBatch(others=reads))
    got = {"a": 0, "b": 0}
    for _ in range(20):  # each always wants three, and there is room for two
        level_is(redis, 4)
        got["a"] += ask(redis, "a", RequestBatch(others=[*entries(3), *reads])).others
        level_is(redis, 4)
        got["b"] += ask(redis, "b", RequestBatch(others=entries(3))).others
    assert min(got.values()) > 0.3 * sum(got.values()), got


def test_redis_clock_set_back_does_not_block_requests(redis: Redis) -> None:
    """A machine that starts with its clock an hour ahead, and is put right by its time server."""

    def ahead(**fields: float | str) -> None:
        hour = NOW + 3600
        known: dict[Any, Any] = {
            name: value if isinstance(value, str) else hour + value
            for name, value in fields.items()
        }
        redis.hset("budget:same rule", mapping=known)

    one = RequestBatch(others=entries(1))
    ahead(level="8", at=0.0, line="who has died", line_rank="2", line_until=0.1)
    assert ask(redis, "a", one).others == 1
    ahead(level="0", at=3.0, own_until=3.0, backoff_until=-600.0)  # a rest that was over long ago
    reply = run(redis, BucketRequest("x", RATE, one, False, 3.0), "a")
    assert reply[0] == b"shared"
    assert float(reply[1]) < 1
    ahead(level="0", at=3.0, own_until=3.0, backoff_until=30.0)  # and one that is not
    reply = run(redis, BucketRequest("x", RATE, one, True, 3.0), "a")
    assert reply[0] == b"own"
    assert float(reply[1]) == pytest.approx(27)


def test_process_without_waiting_requests_keeps_no_place_in_line(redis: Redis) -> None:
    both = RequestBatch(others=[(1, LOOKUP), (1, READ)])
    level_is(redis, 0)
    assert ask(redis, "a", RequestBatch(others=[(1, READ)])).others == 0
    assert ask(redis, "a", both).others == 0
    level_is(redis, 8)
    assert ask(redis, "a", both).others == 2
    assert ask(redis, "b", RequestBatch(others=[(1, READ)])).others == 1


def test_all_processes_use_their_shares_for_a_while_after_a_redis_outage(
    redis: Redis,
) -> None:
    """Others may not have seen yet that it is back; what there was may have been used up."""

    def reply(after: float, *, returned: bool = False, back_off: float = 0.0) -> list[Any]:
        asked = BucketRequest(
            "x", RATE, RequestBatch(others=[(6, ENTRY)], back_off=back_off), returned, settle=3
        )
        return run(redis, asked, now=NOW + after)

    redis.hset("budget:same rule", mapping={"level": RATE.burst, "at": 0})
    assert reply(0, returned=True) == [b"own", b"0.000000"]
    assert reply(1, back_off=5)[0] == b"own"  # a process that must back off shares this
    assert reply(2.9) == [b"own", b"3.100000"]
    redis.hset("budget:same rule", "backoff_until", 0)
    redis.hset("budget:same rule", "level", 0)
    shared, _, others, *_ = reply(3)
    assert (shared, int(others)) == (b"shared", 0)  # and it begins with nothing
