"""Tables that have just grown are analyzed, by a role that may not analyze them."""

from collections.abc import Iterator

import pytest

from common.db.row_security import TRADE, WEB
from common.db.sql import rows, run
from common.db.table_statistics import analyze_new_tables
from tests.until import until

pytestmark = pytest.mark.usefixtures("inline_commits")
TABLE = "just_grown"


@pytest.fixture
def table() -> Iterator[None]:
    run(f"CREATE TABLE {TABLE} AS SELECT g FROM generate_series(1, 50) g")
    try:
        yield
    finally:
        run(f"DROP TABLE {TABLE}")


def grow(count: int) -> None:
    run(f"INSERT INTO {TABLE} SELECT g FROM generate_series(1, {count}) g")
    run("SELECT pg_stat_force_next_flush()")


def as_trade() -> list[str]:
    run(f"SET ROLE {TRADE}")
    try:
        return analyze_new_tables()
    finally:
        run("RESET ROLE")


def known() -> float:
    ((count,),) = rows("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", (TABLE,))
    return float(count)


@pytest.mark.django_db(transaction=True)
def test_table_is_analyzed_once_it_has_ten_times_the_rows(table: None) -> None:
    grow(1)
    assert TABLE not in as_trade()
    assert known() < 0  # never analyzed
    grow(1000)
    until(lambda: TABLE in as_trade())
    assert known() == 1051
    grow(8000)
    assert TABLE not in as_trade()
    grow(3000)
    until(lambda: TABLE in as_trade())
    assert known() == 12051


def test_web_role_may_not_analyze() -> None:
    ((allowed,),) = rows(
        "SELECT has_function_privilege(%s, 'public.fillcast_analyze_new_table(text[])', 'EXECUTE')",
        (WEB,),
    )
    assert not allowed


def test_each_table_is_analyzed_rarely() -> None:
    """Each look of autovacuum at a small busy table would have all sessions plan again."""
    names = rows(
        "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace "
        "AND c.relkind = 'r' AND NOT coalesce(c.reloptions::text LIKE "
        "'%autovacuum_analyze_threshold=20000%', false)"
    )
    missing = [name for (name,) in names]
    assert missing == [], "run ANALYZE_RARELY of common/db/table_statistics.py in your migration"
