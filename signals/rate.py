"""How often something may happen, counted in Redis; without Redis nothing is held back."""

import time

from django.core.cache import cache
from redis.exceptions import RedisError


def seconds_to_wait(name: str, *, limit: int, seconds: int = 60) -> int:
    """Count one more of `name`; return 0 if it may happen, else after how many seconds it may.

    At most `limit` happen in each stretch of `seconds`. Redis only shortens and protects: while it
    is away everything may happen.
    """
    now = int(time.time())
    key = f"rate:{name}:{now // seconds}"
    try:
        cache.add(key, 0, timeout=seconds * 2)
        count = cache.incr(key)
    except (RedisError, ValueError):  # ValueError: it was evicted between the two
        return 0
    return 0 if count <= limit else seconds - now % seconds
