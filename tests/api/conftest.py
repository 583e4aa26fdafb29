"""Fixtures of the API's tests."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from nacl.public import PrivateKey

from signals.rate import forget_failures
from tests.api import factories as cast
from tests.kept_rows import kept_rows

AsWeb = Callable[[], AbstractContextManager[None]]


@pytest.fixture(autouse=True)
def fresh_counters() -> None:
    """Throttles count from zero."""
    forget_failures()
    cache.clear()


@pytest.fixture(autouse=True)
def a_key(settings: Any) -> bytes:
    """What seals is set, as in the web process; what opens is returned."""
    private = PrivateKey.generate()
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = bytes(private.public_key)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = []
    return bytes(private)


world = kept_rows(cast.build)


@pytest.fixture
def as_web() -> AsWeb:
    """The database role of the web process: row-level security holds inside."""

    @contextmanager
    def role() -> Iterator[None]:
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE fillcast_web")
        try:
            yield
        finally:
            with connection.cursor() as cursor:
                cursor.execute("RESET ROLE")

    return role
