"""A session plans a statement once: the plan holds for all parameters, and for tables that grow."""

from collections.abc import Iterator

import pytest

from common.db.sql import kept_plans, periodic_rows
from execution.models import Order
from signals.models import Feed
from tests.execution import factories
from tests.execution.plans import accounts, exits, rules
from tests.execution.plans.cases import Case, comparable, name_of
from tests.execution.plans.explained import Node, generic, scans_of
from tests.execution.plans.rules import LIVE, Rule, check
from tests.execution.plans.sweeps import SWEEPS
from tests.execution.query_plans import kept_since, prepared

pytestmark = [pytest.mark.django_db]  # it inserts many rows

OF_BUNDLES = LIVE | {"one_client_order_id", "one_exit", "order_waiting"}
BUNDLES = Rule("a bundle's rows are fetched by an index", seeking=OF_BUNDLES)
PERIODIC = Rule(
    rules.LIVE_ROWS_ONLY,
    by=LIVE | {"order_lookup", "order_condition", "order_prolonged", "order_exit_condition"},
    seeking=OF_BUNDLES | {"one_entry", "position_of_entry"},
)
WAITING = frozenset({"one_waiting_change", "change_due"})
CHANGES = Rule(
    "changes of entries are read by the indexes of those that wait or are due", by=WAITING,
    seeking=frozenset({"change_of_order"}), tables=("execution_entrychange",), by_keys=False,
)  # fmt: skip


def test_kept_plans_of_bundles_find_their_rows_by_index(live_order: Order, feed: Feed) -> None:
    """A plan is kept from a time when the tables were small; then they grow."""
    before = prepared()
    for _ in range(2):
        factories.signal(feed)
        factories.fill_all()
    kept = kept_since(before)
    assert len(kept) >= 8, kept
    with kept_plans():
        plans = [(name_of(sql), generic(sql)) for sql in kept]
    assert any(scan.table in rules.BIG for _, node in plans for scan in scans_of(node))
    check((name, node, BUNDLES) for name, node in plans)


def kept_cases() -> list[Case]:
    tables = (SWEEPS, exits.EXITS, accounts.OF_ALL_ACCOUNTS)
    listed = [case for table in tables for case in table if case.is_kept]
    return [*listed, accounts.STREAM_CLAIM, accounts.POLLS]


def test_kept_plans_of_periodic_jobs_touch_live_rows_only(live_order: Order) -> None:
    cases = {comparable(case.sql): case for case in kept_cases()}
    before = prepared()
    for case in cases.values():
        periodic_rows(case.sql, case.values(live_order)[0])
    kept = {comparable(sql): sql for sql in kept_since(before)}
    assert [case.name for sql, case in cases.items() if sql not in kept] == []  # planned each time
    with kept_plans():
        plans = [(cases[found].name, generic(sql)) for found, sql in kept.items()]
    check(_both_rules(plans))
    used = {one.index for _, node in plans for one in CHANGES.judged(node)}
    assert used - {"change_of_order"} == WAITING


def _both_rules(plans: list[tuple[str, Node]]) -> Iterator[tuple[str, Node, Rule]]:
    for name, node in plans:
        yield name, node, PERIODIC
        yield name, node, CHANGES
