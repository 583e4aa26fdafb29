"""The cache in Redis: few connections, and an atomic counter."""

from contextvars import Context
from threading import Thread
from typing import Any

import pytest
from django.core.cache import cache
from redis.exceptions import ResponseError

from common.process.redis_cache import counts


def test_threads_share_redis_connections() -> None:
    default: Any = cache
    server = default._cache.get_client(write=True)
    read: list[Any] = []
    try:
        before = server.info("stats")["total_connections_received"]
    except ResponseError:
        pytest.skip("the Redis in pure Python does not count connections")
    for _ in range(20):
        thread = Thread(target=Context().run, args=(lambda: read.append(cache.get("none", 7)),))
        thread.start()
        thread.join()
    assert read == [7] * 20
    assert server.info("stats")["total_connections_received"] - before <= 1


def test_counter_expires_after_its_period() -> None:
    cache.clear()
    assert counts(["a", "a", "b"], seconds=60) + counts([], seconds=60) == [1, 2, 1]
    assert counts(["b", "a"], seconds=60) == [2, 3]
    default: Any = cache
    server = default._cache.get_client(write=True)
    assert 0 < server.ttl(cache.make_key("a")) <= 60
    cache.clear()
