"""The database's clock stands still, so that a time can lie exactly at the edge of a window."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from common.db.sql import database_now, run


@contextmanager
def database_clock_stands() -> Iterator[datetime]:
    """Let statements begin at the same moment until the block ends; yield it.

    Within the transaction of a test: a function of our own is found before PostgreSQL's.
    """
    moment = database_now()
    run("CREATE SCHEMA IF NOT EXISTS frozen")
    run(
        "CREATE OR REPLACE FUNCTION frozen.statement_timestamp() RETURNS timestamptz"
        f" LANGUAGE sql STABLE AS $$SELECT '{moment.isoformat()}'::timestamptz$$"
    )
    run("SET LOCAL search_path = frozen, pg_catalog, public")
    try:
        yield moment
    finally:
        run("SET LOCAL search_path = DEFAULT")
