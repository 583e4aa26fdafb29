"""Fixtures of the API's tests."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from nacl.public import PrivateKey

from signals.feeds import rate
from signals.feeds.rate import forget_failures
from tests.api import factories
from tests.kept_rows import kept_rows

AsWeb = Callable[[], AbstractContextManager[None]]


@pytest.fixture(autouse=True)
def fresh_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reset the throttles' counters, and let no minute end within a test."""
    forget_failures()
    cache.clear()
    now = time.time()
    monkeypatch.setattr(rate, "time", SimpleNamespace(time=lambda: now))


@pytest.fixture(autouse=True)
def private_key(settings: Any) -> bytes:
    """Set the public key only, as in the web process; return the private key."""
    private = PrivateKey.generate()
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = bytes(private.public_key)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = []
    return bytes(private)


world = kept_rows(factories.build)


@pytest.fixture
def as_web() -> AsWeb:
    """Return a context manager for the web process's database role, with row-level security."""

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
