"""Real connections under the application's database roles."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import pytest
from django.db import connection

from tests.kept_rows import kept_rows
from tests.users import world

Session = psycopg.Connection[tuple[Any, ...]]
Opened = Callable[..., AbstractContextManager[Session]]


@pytest.fixture
def as_role() -> Iterator[Opened]:
    """A transaction on a connection of its own: `with as_role("web", tenant=1, operator=False)`.

    before: a statement that the owner of the tables runs first, in the same transaction. A test's
    next transaction uses the connection again: role and tenant have ended with the one before.
    """
    idle: list[Session] = []

    @contextmanager
    def opened(
        role: str, *, tenant: int | None = None, operator: bool = False, before: str = ""
    ) -> Iterator[Session]:
        session = idle.pop() if idle else connected()
        try:
            if before:
                session.execute(before.encode())
            session.execute(f"SET ROLE fillcast_{role}")
            if tenant is not None:
                session.execute("SELECT set_config('fillcast.tenant', %s, true)", (str(tenant),))
            if operator:
                session.execute("SELECT set_config('fillcast.operator', 'on', true)")
            yield session
        finally:
            session.rollback()
            idle.append(session)

    yield opened
    for session in idle:
        session.close()


def connected() -> Session:
    """Return a new connection as the owner of the tables."""
    names = ("host", "port", "user", "password", "dbname")
    params = connection.get_connection_params()
    return psycopg.connect(**{name: params[name] for name in names if name in params})


alice = kept_rows(lambda: world.tenant("alice"))


@pytest.fixture
def bob() -> world.Tenant:
    return world.tenant("bob")
