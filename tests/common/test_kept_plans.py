"""Plans that a session keeps: only inside `kept_plans`, and without a scan of a whole table."""

from typing import Any

import pytest
from django.db import DataError, connection, transaction

from common.db.sql import (
    PLAN_SETTINGS,
    IdRow,
    NowRow,
    Query,
    kept_plans,
    periodic_rows,
    periodic_run,
    rows,
)
from tests.statements import sent_statements

PLANNER = "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)"
USUAL = {
    "plan_cache_mode": "auto", "enable_seqscan": "on", "jit": "off",
    "max_parallel_workers_per_gather": "2",
}  # fmt: skip
STATEMENT = "SELECT %s::int + 40 AS kept"
COUNTS = """
SELECT generic_plans, custom_plans FROM pg_prepared_statements
WHERE statement LIKE 'SELECT $1%%+ 40 AS kept'
"""


def _planner() -> dict[str, str]:
    return {row.name: row.setting for row in rows(PLANNER, ([*PLAN_SETTINGS],))}


@pytest.mark.django_db
def test_statement_is_planned_once_inside_and_settings_end_with_the_block() -> None:
    with transaction.atomic(), kept_plans():
        assert _planner() == PLAN_SETTINGS
        for number in range(3):
            assert rows(STATEMENT, (number,), planned_once=True)[0].kept == number + 40
        counts = rows(COUNTS)
        with sent_statements() as sent, kept_plans():
            pass
        assert sent == []
        with transaction.atomic(), kept_plans():
            pass
        assert _planner() == PLAN_SETTINGS
    assert [tuple(row) for row in counts] == [(3, 0)]
    assert _planner() == USUAL


@pytest.mark.usefixtures("inline_commits")
def test_settings_end_with_the_transaction() -> None:
    with transaction.atomic(), kept_plans():
        pass
    assert _planner() == USUAL


@pytest.mark.django_db(transaction=True)
def test_kept_plans_need_a_transaction() -> None:
    context: Any = kept_plans()
    with pytest.raises(RuntimeError, match="inside a transaction"):
        context.__enter__()
    assert not connection.in_atomic_block


@pytest.mark.django_db
def test_error_inside_leaves_no_setting_behind() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic(), kept_plans():
        raise ZeroDivisionError
    assert _planner() == USUAL


@pytest.mark.django_db(transaction=True)
def test_periodic_statement_is_its_own_transaction_with_a_kept_plan() -> None:
    statement, counts = (text.replace("40", "50") for text in (STATEMENT, COUNTS))
    assert [periodic_rows(statement, (number,))[0].kept for number in range(3)] == [50, 51, 52]
    assert [tuple(row) for row in rows(counts)] == [(3, 0)]
    found = periodic_rows(PLANNER, ([*PLAN_SETTINGS],))
    assert {row.name: row.setting for row in found} == PLAN_SETTINGS
    assert _planner() == USUAL
    (inside,) = periodic_rows("SELECT txid_current() AS id")
    assert rows("SELECT txid_status(%s) AS status", (inside.id,))[0].status == "committed"


@pytest.mark.django_db(transaction=True)
def test_periodic_statement_that_fails_writes_nothing_and_the_session_goes_on() -> None:
    rows("CREATE TEMPORARY TABLE kept (id bigint)")
    written = "WITH w AS (INSERT INTO kept SELECT %s RETURNING id) SELECT 1 / (id - 1) AS id FROM w"
    with pytest.raises(DataError, match="division by zero"):
        periodic_run(written, (1,))
    assert _planner() == USUAL
    assert periodic_run(written, (2,)) == 1
    assert [row.id for row in periodic_rows(Query(IdRow, "SELECT id FROM kept"))] == [2]
    with pytest.raises(TypeError, match="NowRow has the fields"):
        periodic_rows(Query(NowRow, "SELECT id FROM kept"))
    with transaction.atomic():
        assert periodic_run(written, (3,)) == 1
        transaction.set_rollback(True)
    assert [row.id for row in periodic_rows(Query(IdRow, "SELECT id FROM kept"))] == [2]
