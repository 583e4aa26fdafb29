"""pytest plugin of a mutation run: every mutant starts from the same rows."""

import os

import psycopg
import pytest
import redis
from psycopg.sql import SQL, Identifier

from ops.embedded.postgres import NAME
from tests.prepared_database import TEST_NAME, copy_database
from tests.servers import PREPARED


def pytest_sessionstart(session: pytest.Session) -> None:
    """Create the test database again: the process before may have been killed while it wrote."""
    if PREPARED not in os.environ or session.config.option.collectonly:
        return
    url = os.environ["TEST_DATABASE_URL"].removesuffix(NAME) + "postgres"
    with psycopg.connect(url, autocommit=True) as connection:
        drop = SQL("DROP DATABASE {} WITH (FORCE)")
        connection.execute(drop.format(Identifier(TEST_NAME)))
        copy_database(connection, NAME, TEST_NAME)
    with redis.Redis.from_url(os.environ["TEST_REDIS_URL"]) as client:
        client.flushall()
