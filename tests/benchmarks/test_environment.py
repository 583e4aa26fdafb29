"""A benchmark begins with an empty database: a used one is dropped and created again."""

import os
from collections.abc import Iterator

import psycopg
import pytest

from benchmarks.environment import drop_used_database

NAME = "bench_environment"


@pytest.fixture
def server() -> Iterator[psycopg.Connection]:
    """Return a session with the server of the test run, in which a database NAME exists."""
    base = os.environ["DATABASE_URL"].rpartition("/")[0]
    with psycopg.connect(f"{base}/postgres", autocommit=True) as session:
        session.execute(f"CREATE DATABASE {NAME}".encode())
        yield session
        session.execute(f"DROP DATABASE IF EXISTS {NAME}".encode())


@pytest.mark.parametrize(
    ("statements", "exists"),
    [
        ([], True),
        (["CREATE TABLE users_user (id int)"], True),
        (["CREATE TABLE users_user (id int)", "INSERT INTO users_user VALUES (1)"], False),
    ],
    ids=["no tables", "no rows", "used"],
)
def test_only_a_used_database_is_dropped(
    server: psycopg.Connection, statements: list[str], exists: bool
) -> None:
    url = f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{NAME}"
    with psycopg.connect(url) as database:
        for statement in statements:
            database.execute(statement.encode())
    drop_used_database(url)
    found = server.execute("SELECT FROM pg_database WHERE datname = %s", (NAME,)).fetchone()
    assert (found is not None) is exists
