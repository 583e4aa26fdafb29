"""Django's Redis cache with one connection pool for the process and an atomic counter.

Django's own creates a client for each call, and a pool for each thread or request.
"""

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

    def count(self, key: str, *, seconds: int) -> int:
        """Add one to the counter of this key and return it. It expires `seconds` after the first.

        Raises RedisError.
        """
        own: Any = self
        full = self.make_and_validate_key(key)
        transaction = own._cache.get_client(full, write=True).pipeline()
        transaction.set(full, 0, ex=seconds, nx=True)
        transaction.incr(full)
        return int(transaction.execute()[-1])


def count(key: str, *, seconds: int) -> int:
    """Add one to a counter in the default cache: see RedisCache.count. Raises RedisError."""
    default: Any = cache
    return int(default.count(key, seconds=seconds))
