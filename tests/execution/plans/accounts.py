"""What each trading process asks of all its accounts, every few seconds."""

import sys

from common.clocks import market_now
from connections import selectors
from connections.exposure import all_open_sql
from connections.health import inactivity, probes
from connections.market_data.sources import is_used_sql
from execution.reconciliation import reconcile
from execution.recovery import poll_claims
from execution.runtime import stream_claims
from prices import symbol_selection
from tests.execution.fake_broker import KIND
from tests.execution.plans.cases import LANES, Case
from tests.execution.plans.rules import Rule

HERE = sys.modules[__name__]
USED = LANES[1:]  # without any, the planner reads no account
COMMON = {"lanes": USED, "limit": 500, "queried": "{}"}
AT = {"older": 45, "idle_ids": "{}"}
ALL_OF_THEM = {"ids": "{}", "done": "{}", "selected_at": "{}"}
# One account or source by its index, or all live rows hashed once.
OPEN = Rule(
    "what is open on an account is found by index, beside thousands that are off",
    by=frozenset({
        "position_open", "position_open_by_signal", "position_open_by_source",
        "order_with_broker", "order_partly_known",
    }),
    by_keys=False, least=1,
)  # fmt: skip


def open_of_account() -> str:
    return f"SELECT * FROM {all_open_sql()} o WHERE connection_id = %s"


def used_sources() -> str:
    return f"SELECT id FROM connections_dataconnection d WHERE {is_used_sql('d.id')}"


def new_to_compare() -> str:
    return reconcile.connections_sql(only_new=True)


OF_ALL_ACCOUNTS = (
    Case(selectors, "accounts_due_sql", COMMON | AT, OPEN, is_kept=True),
    Case(probes, "failing_sql", COMMON | {"retry_seconds": 5}, OPEN),
    Case(probes, "probe_sql", COMMON | {"hosts": [KIND]}, OPEN),
    Case(inactivity, "inactive_sql", None, OPEN),
    Case(reconcile, "connections_sql", COMMON | AT | ALL_OF_THEM, OPEN),
    *(Case(selectors, "accounts_to_open_sql", (lanes,), OPEN) for lanes in USED),
    Case(selectors, "idle_accounts_sql", COMMON | {"idle": 900}, OPEN),
    Case(HERE, "open_of_account", lambda one: (one.connection_id,), OPEN),
)
NEW_TO_COMPARE = Case(
    HERE, "new_to_compare", ALL_OF_THEM | {"lanes": '{""}'},
    Rule(
        "accounts that wait for a comparison are found by index: mostly there are none",
        tables=(), except_of=("connections_hostcircuit",),  # it is empty here
        by_any=True, required=frozenset({"health_not_reconciled", "comparison_requests"}),
    ),
)  # fmt: skip
OF_SOURCES = frozenset({"position_open_by_source", "order_of_connection"})
USED_SOURCES = Case(
    HERE, "used_sources", None,
    Rule(
        "positions are found by their price source",
        seeking=frozenset({"position_open_by_source"}), by_keys=False, count=1,
    ),
)  # fmt: skip
REQUIRED_PAIRS = tuple(
    Case(
        symbol_selection, "required_pairs_sql", of_source,
        Rule("users of a price source are found by index", seeking=OF_SOURCES, required=OF_SOURCES,
             by_keys=False),
    )
    for of_source in (
        {"sources": "{0}"},  # the planner assumes that some of so many are soon found
        lambda one: {"sources": f"{{{one.connection.data_connection_id}}}"},  # all use it
    )
)  # fmt: skip
OF_TYPES = {"broker_types": f"{{{KIND}}}", "lanes": '{""}', "limit": 50}
STREAM_CLAIM = Case(stream_claims, "CLAIM", {**OF_TYPES, "holder": "me"}, None, is_kept=True)
POLLS = Case(
    poll_claims, "DUE", {**OF_TYPES, "lease": 1.0, "yesterday": market_now()}, None, is_kept=True
)
