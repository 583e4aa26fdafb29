"""A rate limit counted in Redis. Without Redis nothing is limited."""

import time

from redis.exceptions import RedisError

from common.clocks import machine_time
from common.redis_cache import count

# After a failure Redis is not called for this time, so that requests do not wait for it.
BACKOFF_SECONDS = 5.0
_backing_off_until = 0.0


def seconds_to_wait(name: str, *, limit: int, seconds: int = 60) -> int:
    """Count one more call of `name`; return 0 if it is allowed, else the seconds to wait.

    At most `limit` are allowed in each window of `seconds`. While Redis is down all are.
    """
    global _backing_off_until
    if machine_time() < _backing_off_until:
        return 0
    now = int(time.time())
    key = f"rate:{name}:{now // seconds}"
    try:
        counted = count(key, seconds=seconds * 2)
    except RedisError:
        _backing_off_until = machine_time() + BACKOFF_SECONDS
        return 0
    return 0 if counted <= limit else seconds - now % seconds


def forget_failures() -> None:
    """Use Redis again at once. For tests."""
    global _backing_off_until
    _backing_off_until = 0.0
