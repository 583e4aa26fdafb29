"""Pages and lists find a tenant's rows by index: none reads a table that grows with all tenants.

With thousands of rows of others the planner scans a table where no index leads to the tenant's own
rows, as with conditions that are joined by OR, or reads it from its newest row backwards.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from django.db import connection
from django.db.models import Model
from django.urls import reverse

from benchmarks.pages import LISTS
from common.db.sql import run
from execution.models import ArchivedOrder, ExecutionLog, Order
from portal.selectors.signals import signal_history, signal_summaries
from positions.models import ExecutionPosition
from signals.models import Signal
from tests.matrix import WALK_TIME, Walk
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from tests.portal.test_access import OPEN, args, names
from tests.statements import sent_reads
from users.tenancy import act_as

GROWING = (Signal, Order, ArchivedOrder, ExecutionPosition, ExecutionLog)
TABLES = {model._meta.db_table for model in GROWING}
# What they are joined with. The planner takes their rows from the size of their files, in which
# those that earlier tests rolled back still take room, and from what an earlier ANALYZE found.
OTHER_TABLES = f"""relkind = 'r' AND relnamespace = 'public'::regnamespace
AND NOT relname = ANY(ARRAY{sorted(TABLES)})"""
OTHERS = 6_000  # rows of others in each table
ACCOUNT = "('00000000-0000-4000-8000-' || lpad((g.id % 200)::text, 12, '0'))::uuid"
FOLLOWER = "('00000000-0000-4000-9000-' || lpad(g.n::text, 12, '0'))::uuid"
# From the newest line of all backwards: an index by account would cost each order four entries.
NEWEST_FIRST = {"execution-logs"}
# Addresses that only take a form lead a GET to the page with the form.
FORMS_ONLY = {
    "account_compare", "account_fallback", "account_own_prices", "account_pause", "account_resume",
    "account_sample_close", "account_switch_on", "account_test", "feed_record_show", "inbox_read",
    "notification_read",
    "preset_example", "publishing_withdraw", "subscription_pause", "subscription_resume",
    "subscription_twin_start", "telegram_pause", "telegram_resume",
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("private_feeds")


def copy(row: Model, source: str, **changed: str) -> None:
    """Insert a row's copy for each row `g` of a SELECT. changed: SQL by column."""
    columns = [field.column for field in row._meta.concrete_fields if field.column != "id"]
    values = [changed.get(name, f't."{name}"') for name in columns]
    named, table = ", ".join(f'"{name}"' for name in columns), row._meta.db_table
    run(
        f"INSERT INTO {table} ({named}) SELECT {', '.join(values)} FROM {table} t, ({source}) g"
        f" WHERE t.id = {row.pk}"
    )


@pytest.fixture
def others(world: World) -> None:
    """Others have traded for years, on 200 accounts."""
    write_trades(world, ACCOUNT)


def write_trades(world: World, account: str) -> None:
    """Write trades that have ended. account: SQL of the account of the row `g`."""
    signal = Signal.objects.filter(action="OPEN", published_at__isnull=False).earliest("pk")
    order = Order.objects.filter(leg="entry").earliest("pk")
    position = ExecutionPosition.objects.earliest("pk")
    last, entry = Signal.objects.latest("pk").pk, Order.objects.latest("pk").pk
    run("SET LOCAL session_replication_role = replica")  # accounts need not exist
    copy(
        signal, f"SELECT generate_series(1, {OTHERS}) AS n",
        external_id="'other' || g.n", feed_id=str(world.carry.pk),
        published_at="t.published_at - make_interval(secs => g.n)",
    )  # fmt: skip
    copied = f"SELECT id FROM signals_signal WHERE id > {last}"
    theirs = {"connection_id": account, "signal_id": "g.id"}
    copy(
        order, copied, **theirs, client_order_id="'o' || g.id", status="'FILLED'",
        pending_action="''", lookup_after="NULL", done_at="now()",
    )  # fmt: skip
    copy(position, copied, **theirs, quantity="0", reserved="0", closed_at="now()")
    run(
        "INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status) "
        "SELECT id, signal_id, connection_id, 'FILL', 'FILLED' FROM execution_order"
    )
    run(
        "INSERT INTO execution_archivedorder (id, signal_id, created_at, done_at, connection_id,"
        " status, pair, side, order_type) SELECT id + 1000000, signal_id, now(), now(),"
        f" connection_id, 'SKIPPED', pair, side, order_type FROM execution_order WHERE id > {entry}"
    )
    run("SET LOCAL session_replication_role = origin")
    analyze()


def analyze() -> None:
    """Give the planner statistics of the tables that grow, and 200 rows of each other one."""
    run("ANALYZE " + ", ".join(TABLES))
    run(
        "UPDATE pg_class SET reltuples = 200, relpages = pg_relation_size(oid) / 8192"
        f" WHERE {OTHER_TABLES}"
    )
    run(f"DELETE FROM pg_statistic USING pg_class WHERE starelid = pg_class.oid AND {OTHER_TABLES}")


def rows_read(step: Mapping[str, Any]) -> float:
    """Return how many rows a step of a plan read to find its own: of all its runs together."""
    dropped = sum(step.get(f"Rows Removed by {why}", 0) for why in ("Filter", "Index Recheck"))
    return float((step["Actual Rows"] + dropped) * step["Actual Loops"])


def wide_scans(step: Mapping[str, Any]) -> list[str]:
    """Return the steps of a plan that read most rows of a table that grows with all tenants."""
    found = [name for below in step.get("Plans", ()) for name in wide_scans(below)]
    if step.get("Relation Name") in TABLES and rows_read(step) > OTHERS / 2:
        found.append(f"{step['Node Type']} {step.get('Index Name', '')} {step['Relation Name']}")
    return found


def plan_of(text: str, params: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) {text}", params)
        [(plans,)] = cursor.fetchall()
        return plans[0]["Plan"]


def wide_reads(sent: Sequence[tuple[str, Any]]) -> dict[str, list[str]]:
    """Return the statements that read most rows of such a table, with their steps."""
    return {text: scans for text, params in sent if (scans := wide_scans(plan_of(text, params)))}


@WALK_TIME
def test_pages_read_no_table_of_all_tenants(
    world: World, others: None, signed_in: SignedIn, as_web: None
) -> None:
    client, known = signed_in(world.alice), set[str]()
    with Walk(client) as walk:
        for name in walk.each(name for name in names() if name not in OPEN):
            address = reverse(f"portal:{name}", kwargs=args(world, name, "alice"))
            with walk.cell(name, "alice") as cell:
                with sent_reads() as sent:
                    answer: Any = client.get(address)
                    b"".join(answer.streaming_content) if answer.streaming else answer.content
                cell.expect(302 if name in FORMS_ONLY else 200, answer.status_code)
                act_as(world.alice)
                new = {repr(read): read for read in sent if repr(read) not in known}
                cell.expect({}, wide_reads(list(new.values())), "reads most rows")
                known |= new.keys()  # pages have much in common


def test_outcomes_of_signals_are_found_by_the_signal(world: World) -> None:
    """Not by the accounts, which may have traded for years, nor among all of its followers."""
    signals = list(Signal.objects.filter(published_at__isnull=False))
    order = Order.objects.filter(connection__user=world.alice).earliest("pk")
    write_trades(world, f"'{order.connection_id}'::uuid")
    trade, last = world.closed, world.closed.pk
    run("SET LOCAL session_replication_role = replica")  # accounts need not exist
    copy(
        trade, f"SELECT generate_series(1, {OTHERS}) AS n", connection_id=FOLLOWER,
        broker_position_id="''",
    )  # fmt: skip
    copy(
        order, f"SELECT * FROM positions_executionposition WHERE id > {last}", leg="'sl'",
        connection_id="g.connection_id", signal_id="g.signal_id", position_id="g.id",
        client_order_id="'x' || g.id", status="'FILLED'", done_at="now()",
    )  # fmt: skip
    run("SET LOCAL session_replication_role = origin")
    analyze()
    run("SET LOCAL ROLE fillcast_web")
    act_as(world.alice)
    with sent_reads() as sent:
        summaries = signal_summaries(world.alice, signals)
        histories = [signal_history(world.alice, signal) for signal in signals]
    assert any(summary.accounts for summary in summaries)
    assert any(history.outcomes for history in histories)
    assert not wide_reads(sent)


@WALK_TIME
def test_lists_of_the_api_read_no_table_of_all_tenants(
    world: World, others: None, signed_in: SignedIn, as_web: None
) -> None:
    client = signed_in(world.alice)
    with Walk(client) as walk:
        for name in walk.each(sorted(set(LISTS) - NEWEST_FIRST)):
            path, _, query = name.partition("?")
            with walk.cell(name, "alice") as cell:
                with sent_reads() as sent:
                    answer = client.get(f"/api/v1/{path}/?{query}")
                cell.expect(200, answer.status_code)
                act_as(world.alice)
                cell.expect({}, wide_reads(sent), "reads most rows")
