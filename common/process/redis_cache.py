"""Django's Redis cache with one connection pool for the process and atomic counters.

Django's own creates a client for each call, and a pool for each thread or request.
"""

from collections import Counter
from collections.abc import Sequence
from threading import Lock
from typing import Any

from django.core.cache import cache
from django.core.cache.backends import redis

_clients: dict[tuple[Any, ...], Any] = {}
_lock = Lock()


class SharedClient(redis.RedisCacheClient):
    """Returns one shared, thread-safe client for each server and set of options."""

    def get_client(self, key: Any = None, *, write: bool = False) -> Any:
        """Return the client of the server for this read or write."""
        own: Any = self  # django-stubs do not know its attributes
        server = own._servers[own._get_connection_pool_index(write)]
        name = (server, repr(sorted(own._pool_options.items(), key=str)))
        client = _clients.get(name)
        if client is None:
            with _lock:
                client = _clients.setdefault(name, super().get_client(key, write=write))
        return client


class RedisCache(redis.RedisCache):
    """Django's Redis cache with shared clients."""

    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = SharedClient

    def counts(self, keys: Sequence[str], *, seconds: int) -> list[int]:
        """Add one to the counter of each key, of one that is named twice both times; return them.

        A counter expires `seconds` after its first call. Raises RedisError.
        """
        if not keys:
            return []
        own: Any = self
        full = [self.make_and_validate_key(key) for key in keys]
        times = Counter(full)
        transaction = own._cache.get_client(full[0], write=True).pipeline()
        for key, count in times.items():
            transaction.set(key, 0, ex=seconds, nx=True)
            transaction.incrby(key, count)
        counted = {
            key: int(after) - times[key]
            for key, after in zip(times, transaction.execute()[1::2], strict=True)
        }
        values = []
        for key in full:
            counted[key] += 1
            values.append(counted[key])
        return values


def counts(keys: Sequence[str], *, seconds: int) -> list[int]:
    """Add one to counters of the default cache: see RedisCache.counts. Raises RedisError."""
    default: Any = cache
    return list(default.counts(keys, seconds=seconds))
