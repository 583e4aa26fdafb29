"""Sessions under the application's database roles, and two tenants."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

from tests.kept_rows import kept_rows
from tests.users import world

Session = psycopg.Connection[tuple[Any, ...]]
Opened = Callable[..., AbstractContextManager[Session]]


@pytest.fixture
def as_role() -> Iterator[Opened]:
    """A block that is rolled back: `with as_role("web", tenant=1, operator=False) as session`.

    It is a savepoint of a test that rolls back, so that it sees the test's rows; in a test that
    commits, a transaction on a connection of its own. before: a statement that the owner of the
    tables runs first. Role and tenant end with the block.
    """
    idle: list[Session] = []

    @contextmanager
    def opened(
        role: str, *, tenant: int | None = None, operator: bool = False, before: str = ""
    ) -> Iterator[Session]:
        with savepoint() if connection.in_atomic_block else another(idle) as session:
            if before:
                session.execute(before.encode())
            session.execute(f"SET ROLE fillcast_{role}")
            if tenant is not None:
                session.execute("SELECT set_config('fillcast.tenant', %s, true)", (str(tenant),))
            if operator:
                session.execute("SELECT set_config('fillcast.operator', 'on', true)")
            yield session

    yield opened
    for session in idle:
        session.close()


@contextmanager
def savepoint() -> Iterator[Session]:
    with transaction.atomic():
        yield connection.connection
        transaction.set_rollback(True)


@contextmanager
def another(idle: list[Session]) -> Iterator[Session]:
    session = idle.pop() if idle else connected()
    try:
        yield session
    finally:
        session.rollback()
        idle.append(session)


def is_refused(session: Session, statement: str) -> bool:
    """Return whether the session's role has no right to a statement."""
    try:
        session.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege:
        return True
    return False


def connected() -> Session:
    """Return a new connection as the owner of the tables."""
    names = ("host", "port", "user", "password", "dbname")
    params = connection.get_connection_params()
    return psycopg.connect(**{name: params[name] for name in names if name in params})


alice = kept_rows(lambda: world.tenant("alice"))

bob = kept_rows(lambda _alice: world.tenant("bob"), on="alice")
