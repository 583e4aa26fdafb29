"""A rate limit counted in Redis. Without Redis nothing is limited."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from redis.exceptions import RedisError

from common.clocks import machine_time
from common.process.redis_cache import counts

# After a failure Redis is not called for this time, so that requests do not wait for it.
BACKOFF_SECONDS = 5.0
_backing_off_until = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """The calls of one name in its current window. left: further ones that are allowed.

    resets_in: seconds until the window ends. is_over: this call was one too many.
    """

    limit: int
    left: int
    resets_in: int
    is_over: bool


def seconds_to_wait(name: str, *, limit: int, seconds: int = 60) -> int:
    """Count one more call of `name`; return 0 if it is allowed, else the seconds to wait.

    At most `limit` are allowed in each window of `seconds`. While Redis is down all are.
    """
    return seconds_of(count_call(name, limit=limit, seconds=seconds))


def seconds_of(usage: Usage | None) -> int:
    """Return 0 for a call that is allowed, else the seconds to wait."""
    return usage.resets_in if usage is not None and usage.is_over else 0


def count_call(name: str, *, limit: int, seconds: int = 60) -> Usage | None:
    """Count one more call of `name`. None: Redis is down, so nothing is limited."""
    return count_calls([(name, limit)], seconds=seconds)[0]


def count_calls(calls: Sequence[tuple[str, int]], *, seconds: int = 60) -> list[Usage | None]:
    """Count calls, each with its name and limit, in one exchange with Redis; see `count_call`."""
    global _backing_off_until
    if machine_time() < _backing_off_until:
        return [None] * len(calls)
    now = int(time.time())
    keys = [f"rate:{name}:{now // seconds}" for name, _ in calls]
    try:
        counted = counts(keys, seconds=seconds * 2)
    except RedisError:
        _backing_off_until = machine_time() + BACKOFF_SECONDS
        return [None] * len(calls)
    resets_in = seconds - now % seconds
    return [
        Usage(limit, max(limit - count, 0), resets_in, count > limit)
        for (_, limit), count in zip(calls, counted, strict=True)
    ]


def forget_failures() -> None:
    """Use Redis again at once. For tests."""
    global _backing_off_until
    _backing_off_until = 0.0
