"""pytest plugin of a mutation run: every mutant starts from the same rows."""

import os

import psycopg
import pytest
import redis
from psycopg.sql import SQL, Identifier

from ops.embedded.postgres import NAME
from tests.prepared_database import TEST_NAME
from tests.servers import PREPARED


def pytest_sessionstart(session: pytest.Session) -> None:
    """Create the test database again: the process before may have been killed while it wrote."""
    if PREPARED not in os.environ or session.config.option.collectonly:
        return
    url = os.environ["TEST_DATABASE_URL"].removesuffix(NAME) + "postgres"
    with psycopg.connect(url, autocommit=True) as connection:
        drop, create = "DROP DATABASE {} WITH (FORCE)", "CREATE DATABASE {} TEMPLATE {}"
        connection.execute(SQL(drop).format(Identifier(TEST_NAME)))
        connection.execute(SQL(create).format(Identifier(TEST_NAME), Identifier(NAME)))
    with redis.Redis.from_url(os.environ["TEST_REDIS_URL"]) as client:
        client.flushall()
