"""Requests that wait for a row that another session holds."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models import Model
from django.test import Client
from psycopg.pq import TransactionStatus

from tests.api import factories
from tests.api.factories import World
from tests.until import until

SECONDS = 120.0
SHORT_MS = 60  # of a wait that is to end by its time-out
LONG_MS = 240_000
Send = Callable[[], Any]


@pytest.fixture
def world(transactional_db: None) -> World:
    return factories.build()


class PendingRequest:
    """A request on its own thread, observed in the database."""

    def __init__(self, send: Send, *, retry_waits: bool = False) -> None:
        """retry_waits: after the first time-out, its session waits as long as it has to."""
        self.response: Any = None
        self._timed_out, self._retry_waits = threading.Event(), retry_waits
        self._thread = threading.Thread(target=self._run, args=[send])
        self._thread.start()

    def _run(self, send: Send) -> None:
        try:
            with connection.execute_wrapper(self._watch):
                self.response = send()
        finally:
            connection.close()

    def _watch(self, execute: Any, sql: Any, parameters: Any, many: Any, context: Any) -> Any:
        session = context["connection"].connection
        has_failed = session.info.transaction_status == TransactionStatus.INERROR
        if self._retry_waits and self._timed_out.is_set() and not has_failed:
            session.execute("SET lock_timeout = 0; SET statement_timeout = 0")
        try:
            return execute(sql, parameters, many, context)
        except OperationalError:
            self._timed_out.set()
            raise

    def wait_for_retry(self) -> None:
        """Wait until it has timed out and waits for the lock again."""
        assert self._timed_out.wait(SECONDS), "the request has not timed out"
        self.wait_for_lock()

    def wait_for_lock(self, *, after: Any = None) -> Any:
        """Return its session and when its transaction began, once it waits for a lock.

        after: an earlier result; the transaction must be a later one.
        """

        def found() -> list[Any]:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_stat_clear_snapshot()")
                cursor.execute(
                    "SELECT pid, xact_start FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                    " AND datname = current_database()"
                )
                sessions = cursor.fetchall()
            return [one for one in sessions if one[1] and (not after or one[1] > after[1])]

        return until(found, "the request does not wait for a lock")[0]

    def wait_for_retry_of_cancelled(self) -> None:
        """Cancel its first wait, as a statement's time-out does; return when it waits again."""
        first = self.wait_for_lock()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_cancel_backend(%s)", [first[0]])
        self.wait_for_lock(after=first)

    def result(self) -> Any:
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "the request hangs"
        return self.response


@contextmanager
def held(row: Model) -> Iterator[None]:
    """Hold a row in another transaction."""
    with transaction.atomic():
        list(type(row)._default_manager.select_for_update(of=("self",)).filter(pk=row.pk))
        yield


def without_raising(client: Client) -> Client:
    client.raise_request_exception = False
    return client


@contextmanager
def locked(table: str) -> Iterator[None]:
    """Hold a whole table in another transaction."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield
