"""Real connections under the application's database roles."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import pytest
from django.db import connection

from tests.users import world

Session = psycopg.Connection[tuple[Any, ...]]
Opened = Callable[..., AbstractContextManager[Session]]


@pytest.fixture
def as_role() -> Opened:
    """A transaction on a connection of its own: `with as_role("web", tenant=1, operator=False)`.

    before: a statement that the owner of the tables runs first, in the same transaction.
    """

    @contextmanager
    def opened(
        role: str, *, tenant: int | None = None, operator: bool = False, before: str = ""
    ) -> Iterator[Session]:
        params = connection.get_connection_params()
        with psycopg.connect(
            **{
                name: params[name]
                for name in ("host", "port", "user", "password", "dbname")
                if name in params
            }
        ) as session:
            if before:
                session.execute(before.encode())
            session.execute(f"SET ROLE fillcast_{role}")
            if tenant is not None:
                session.execute("SELECT set_config('fillcast.tenant', %s, true)", (str(tenant),))
            if operator:
                session.execute("SELECT set_config('fillcast.operator', 'on', true)")
            try:
                yield session
            finally:
                session.rollback()

    return opened


@pytest.fixture
def alice() -> world.Tenant:
    return world.tenant("alice")


@pytest.fixture
def bob() -> world.Tenant:
    return world.tenant("bob")
