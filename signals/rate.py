"""How often something may happen, counted in Redis; without Redis nothing is held back."""

import time

from redis.exceptions import RedisError

from common.clocks import machine_time
from common.redis_cache import count

# After a failure Redis is left alone for so long: waiting for it must not slow every request.
BACKOFF_SECONDS = 5.0
_backing_off_until = 0.0


def seconds_to_wait(name: str, *, limit: int, seconds: int = 60) -> int:
    """Count one more of `name`; return 0 if it may happen, else after how many seconds it may.

    At most `limit` happen in each stretch of `seconds`. Redis only protects: while it is away
    everything may happen.
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
    """Ask Redis again at once. For tests."""
    global _backing_off_until
    _backing_off_until = 0.0
