"""Plans that a session keeps: only inside `kept_plans`, and without a scan of a whole table."""

from typing import Any

import pytest
from django.db import connection, transaction

from common.sql import kept_plans, rows

PLANNER = """
SELECT current_setting('plan_cache_mode') AS mode, current_setting('enable_seqscan') AS scans
"""
STATEMENT = "SELECT %s::int + 40 AS kept"
COUNTS = """
SELECT generic_plans, custom_plans FROM pg_prepared_statements
WHERE statement LIKE 'SELECT $1%%+ 40 AS kept'
"""


def _planner() -> tuple[str, str]:
    (row,) = rows(PLANNER)
    return row.mode, row.scans


@pytest.mark.django_db
def test_statement_is_planned_once_inside_and_settings_end_with_the_block() -> None:
    with transaction.atomic(), kept_plans():
        assert _planner() == ("force_generic_plan", "off")
        for number in range(3):
            assert rows(STATEMENT, (number,), planned_once=True)[0].kept == number + 40
        counts = rows(COUNTS)
        with transaction.atomic(), kept_plans():
            pass
        assert _planner() == ("force_generic_plan", "off")
    assert [tuple(row) for row in counts] == [(3, 0)]
    assert _planner() == ("auto", "on")


@pytest.mark.django_db(transaction=True)
def test_settings_end_with_the_transaction() -> None:
    with transaction.atomic(), kept_plans():
        pass
    assert _planner() == ("auto", "on")


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
    assert _planner() == ("auto", "on")
