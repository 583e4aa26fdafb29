"""The read operations on connections: other apps import them from here."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import CharField, Exists, IntegerField, OuterRef, QuerySet
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from common.db.sql import positional, rows
from common.web.formatting import hint, sentence
from connections import session_lanes
from connections.accounts.cash_flows import flow_note
from connections.accounts.demo import is_demo
from connections.accounts.equity_readings import (
    EquityReading,
    equity_readings,
)
from connections.accounts.lane_accounts import (
    IdleAccount,
    LaneAccount,
    accounts_of_lanes,
    accounts_outside_lanes,
    accounts_to_open_sql,
    broker_types_of_lanes,
    idle_accounts_sql,
    ids_of_lanes,
)
from connections.accounts.limit_scope import ANY_LOSS_LIMIT_SQL
from connections.credentials.provider_secrets import open_secret
from connections.credentials.specs import (
    READ_COLUMNS,
    SPEC_COLUMNS,
    AccountRow,
    ReadRow,
    SpecRow,
    spec_for,
    spec_from_row,
    spec_without_credentials,
)
from connections.decisions.selectors import news_around
from connections.eligibility import (
    REASON_SQL,
    TEMPORARY_REASONS,
    eligibility_parameters,
    health_reasons,
    reason_for,
)
from connections.exposure import describe_open_items, open_count_sql, open_items
from connections.health.account_polling import accounts_due, accounts_due_sql
from connections.health.due_tests import due_tests
from connections.health.host_circuit_breaker import OPEN_HOSTS, open_hosts
from connections.health.maintenance import (
    ANY_WINDOW,
    MaintenanceNotice,
    deferred_entries,
    describe_window,
    windows_open_now,
)
from connections.health.maintenance import describe as describe_maintenance
from connections.joins import (
    ACCOUNTS_OF_USER_SQL,
    ANY_HALT_TO_CARRY_OUT_SQL,
    CLOSING_HALTS_SQL,
    CLOSING_PAUSES_SQL,
    CONNECTIONS_WITH_HEALTH_SQL,
    CURRENT_EPOCH_SQL,
    ENTRY_SUBSCRIPTION_JOIN_SQL,
    ENTRY_SYMBOL_MAP_SQL,
    EPOCH_IS_OPEN_SQL,
    HEALTH_JOIN_SQL,
    HOST_IS_DOWN_SQL,
    HOST_IS_UP_SQL,
    LISTED_INSTRUMENTS_SQL,
    NOT_RECONCILED_SQL,
    OWNER_ID_SQL,
    PRESET_JOIN_SQL,
    PRESET_OF_ACCOUNT_SQL,
    RECORD_CLUSTER,
    ROUTE_ACCOUNTS_SQL,
    SUBSCRIPTION_CODE_SQL,
    TYPES_AND_LANES_SQL,
    account_join_sql,
    accounts_of_source_sql,
    connection_join_sql,
    has_accounts_sql,
    has_doubted_facts_sql,
    has_old_facts_sql,
    instrument_join_sql,
    is_in_comparison_sql,
    not_twin_sql,
    pause_join_sql,
    subscription_join_sql,
    terms_join_sql,
)
from connections.loss_limits.figures import (
    AppliedLimit,
    ClosedResult,
    DueAccount,
    due_accounts,
    figures_of,
    limit_name,
    limits_of,
    unread_limits_of,
)
from connections.loss_limits.rules import (
    Breach,
    LossFigures,
    breach_of,
    pause_end,
    pause_figures,
    pause_limit,
    value_of,
    window_start,
)
from connections.market_data.compatibility import LIVE_KINDS, slippage_rule
from connections.market_data.exchange_hours import calendars_ending
from connections.market_data.fallbacks import (
    fallback_chains,
    followed_pairs,
    has_no_price_sql,
    pairs_stood_in_for,
    possible_fallbacks,
)
from connections.market_data.source_hours import hours_of_pairs
from connections.market_data.source_status import (
    PARTIAL,
    AccountPrices,
    SourceStatus,
    account_prices,
    is_delivering,
    source_status,
    with_source_status,
    with_status,
)
from connections.market_data.sources import (
    can_provide_prices,
    other_accounts_using,
    reference_sources,
    serves_paper,
    side_sources,
    smallest_steps,
    sources_in_lanes,
    unavailable_reason,
)
from connections.market_data.ticks import (
    TICK_SQL,
    close_minimum_sql,
    contract_size_sql,
    freeze_level_sql,
    listed_pairs_sql,
    on_tick_sql,
    quantity_step_sql,
    rounded_to_tick_sql,
    smallest_close_sql,
    stops_level_sql,
    tick_sql,
    ticks_join_sql,
)
from connections.market_data.twin_lists import has_live_sizes
from connections.models import (
    ConnectionHealth,
    ExecutionConnection,
    LaneLease,
    Subscription,
)
from connections.session_lanes import (
    missing_worker_message,
)
from connections.subscriptions.followers import Followers, followers_of, owner_counts
from connections.subscriptions.readiness import readiness_of
from connections.twin_links import is_twin_account

__all__ = [
    "ACCOUNTS_OF_USER_SQL",
    "ANY_HALT_TO_CARRY_OUT_SQL",
    "ANY_LOSS_LIMIT_SQL",
    "ANY_WINDOW",
    "CLOSING_HALTS_SQL",
    "CLOSING_PAUSES_SQL",
    "CONNECTIONS_WITH_HEALTH_SQL",
    "CURRENT_EPOCH_SQL",
    "ENTRY_SUBSCRIPTION_JOIN_SQL",
    "ENTRY_SYMBOL_MAP_SQL",
    "EPOCH_IS_OPEN_SQL",
    "HEALTH_JOIN_SQL",
    "HOST_IS_DOWN_SQL",
    "HOST_IS_UP_SQL",
    "LISTED_INSTRUMENTS_SQL",
    "LIVE_KINDS",
    "NOT_RECONCILED_SQL",
    "OPEN_HOSTS",
    "OWNER_ID_SQL",
    "PARTIAL",
    "PRESET_JOIN_SQL",
    "PRESET_OF_ACCOUNT_SQL",
    "READ_COLUMNS",
    "RECORD_CLUSTER",
    "ROUTE_ACCOUNTS_SQL",
    "SPEC_COLUMNS",
    "SUBSCRIPTION_CODE_SQL",
    "TICK_SQL",
    "TYPES_AND_LANES_SQL",
    "AccountPrices",
    "AccountRow",
    "AppliedLimit",
    "Breach",
    "ClosedResult",
    "DueAccount",
    "EquityReading",
    "Followers",
    "IdleAccount",
    "LaneAccount",
    "LossFigures",
    "MaintenanceNotice",
    "ReadRow",
    "SourceStatus",
    "SpecRow",
    "account_join_sql",
    "account_prices",
    "accounts_due",
    "accounts_due_sql",
    "accounts_of_lanes",
    "accounts_of_source_sql",
    "accounts_outside_lanes",
    "accounts_to_open_sql",
    "breach_of",
    "broker_types_of_lanes",
    "calendars_ending",
    "can_provide_prices",
    "close_minimum_sql",
    "connection_join_sql",
    "contract_size_sql",
    "count_open_items",
    "deferred_entries",
    "describe_maintenance",
    "describe_open_items",
    "describe_window",
    "due_accounts",
    "due_tests",
    "equity_readings",
    "fallback_chains",
    "figures_of",
    "find_connection",
    "flow_note",
    "followed_pairs",
    "followers_of",
    "freeze_level_sql",
    "has_accounts_sql",
    "has_doubted_facts_sql",
    "has_live_sizes",
    "has_no_price_sql",
    "has_old_facts_sql",
    "health_badge",
    "health_reasons",
    "hours_of_pairs",
    "idle_accounts_sql",
    "ids_of_lanes",
    "instrument_join_sql",
    "is_delivering",
    "is_demo",
    "is_in_comparison_sql",
    "is_test_pending",
    "is_twin_account",
    "limit_name",
    "limits_of",
    "listed_pairs_sql",
    "missing_worker_message",
    "news_around",
    "not_twin_sql",
    "on_tick_sql",
    "open_hosts",
    "open_items",
    "open_secret",
    "other_accounts_using",
    "owner_counts",
    "pairs_stood_in_for",
    "pause_end",
    "pause_figures",
    "pause_join_sql",
    "pause_limit",
    "possible_fallbacks",
    "quantity_step_sql",
    "readiness_of",
    "reason_for",
    "reference_sources",
    "resume_message",
    "rounded_to_tick_sql",
    "serves_paper",
    "side_sources",
    "skip_reasons",
    "slippage_rule",
    "smallest_close_sql",
    "smallest_steps",
    "source_status",
    "sources_in_lanes",
    "spec_for",
    "spec_from_row",
    "spec_without_credentials",
    "stops_level_sql",
    "subscription_join_sql",
    "terms_join_sql",
    "test_checks",
    "tick_sql",
    "ticks_join_sql",
    "unavailable_reason",
    "unread_limits_of",
    "value_of",
    "window_start",
    "windows_open_now",
    "with_display_columns",
    "with_skip_reason",
    "with_source_status",
    "with_status",
]

_WITHOUT_SUBSCRIPTION = """
FROM connections_executionconnection c
LEFT JOIN connections_connectionhealth h ON h.connection_id = c.id
LEFT JOIN connections_subscription s ON FALSE
"""
_SKIP_REASON = f"""
(SELECT coalesce({REASON_SQL}, '') {_WITHOUT_SUBSCRIPTION}
 WHERE c.id = connections_executionconnection.id)
"""
_SKIP_REASONS = f"""
SELECT c.id, {REASON_SQL} AS reason {_WITHOUT_SUBSCRIPTION}
WHERE %(ids)s::uuid[] IS NULL AND c.archived_at IS NULL OR c.id = ANY(%(ids)s::uuid[])
"""


def find_connection(text: str) -> UUID:
    """Return the live connection of an id, a name or an account. Raises LookupError."""
    live = ExecutionConnection.objects.live()
    try:
        ids = list(live.filter(pk=UUID(text)).values_list("pk", flat=True))
    except ValueError:
        by_name = live.filter(name=text) | live.filter(account=text)
        ids = list(by_name.values_list("pk", flat=True)[:2])
    if len(ids) != 1:
        if ids:
            raise LookupError(f"There is more than one connection {text!r}: use its id.")
        raise LookupError(f"There is no connection {text!r}.")
    return ids[0]


def with_display_columns(
    connections: QuerySet[ExecutionConnection],
) -> QuerySet[ExecutionConnection]:
    """Add to connections what `missing_worker_message` and `count_open_items` would query for each.

    `has_worker`: whether a worker holds its lane. `open_count`: how many items are open there.
    """
    handover = timedelta(seconds=session_lanes.HANDOVER_SECONDS)
    leases = LaneLease.objects.filter(lane=OuterRef("lane"), until__gte=Now() - handover)
    mine = f"{ExecutionConnection._meta.db_table}.id"
    count = RawSQL(open_count_sql(mine), [], output_field=IntegerField())
    return connections.annotate(has_worker=Exists(leases), open_count=count)


def with_skip_reason(
    connections: QuerySet[ExecutionConnection],
) -> QuerySet[ExecutionConnection]:
    """Add to connections `skip_reason`, as `skip_reasons` returns it, in the same statement."""
    parameters = eligibility_parameters(feed_id=None, direction=None)
    why = RawSQL(*positional(_SKIP_REASON, parameters), output_field=CharField())
    return connections.annotate(skip_reason=why)


def count_open_items(connection: ExecutionConnection) -> int:
    """Return how many open positions, and orders that are or may be at the broker, there are."""
    count = getattr(connection, "open_count", None)
    return len(open_items(connection.pk)) if count is None else int(count)


def skip_reasons(ids: list[Any] | None = None) -> dict[Any, str]:
    """Return the reason code for which each connection would be skipped now; '' if it trades.

    ids: of connections; None: all live ones.
    """
    parameters = {**eligibility_parameters(feed_id=None, direction=None), "ids": ids}
    return {row.id: row.reason or "" for row in rows(_SKIP_REASONS, parameters)}


def health_badge(connection: ExecutionConnection) -> tuple[str, str]:
    """Return CSS class and label of a connection's state.

    Needs no query for connections from `with_display_columns` whose health is selected.
    """
    state = getattr(connection, "health", None)
    if connection.archived_at:
        return "cancelled", "Archived"
    if connection.is_active and not connection.is_paused:
        return _health_label(connection, state)
    if not (count := count_open_items(connection)):
        return ("paused", "Paused") if connection.is_active else ("cancelled", "Switched off")
    # Open items are still monitored, so problems are shown nevertheless.
    css, state_label = _health_label(connection, state)
    label = f"{'Paused' if connection.is_active else 'Off'}, {count} open"
    return ("paused", label) if css == "ok" else (css, f"{label}: {state_label.lower()}")


def _health_label(
    connection: ExecutionConnection, state: ConnectionHealth | None
) -> tuple[str, str]:
    if missing_worker_message(connection):
        return "attention", "No worker"
    if state is None or state.status == "UNTESTED":
        return "pending", "Test requested" if is_test_pending(state) else "Never tested"
    if state.has_error():
        return "rejected", "Error"
    if state.circuit_open_until and state.circuit_open_until > datetime.now(UTC):
        return "rejected", "Circuit open"
    if state.inactivity_alerted_at is not None:
        return "attention", "Inactive"
    if state.reconciled_at is None:
        return "attention", "Not reconciled"
    return "ok", "Healthy"


def resume_message(connection: ExecutionConnection) -> str:
    """Return what an account does that was just resumed or switched on.

    It trades from the next signal on, or the message states why it does not yet.
    """
    if connection.can_execute_trades():
        return "It trades from the next signal on. Skipped signals are not executed later."
    reason = reason_for(connection_id=connection.pk) or ""
    effect = "Its entries wait." if reason in TEMPORARY_REASONS else "It takes no signal yet."
    return f"{effect} {sentence(reason)} {hint(reason)}".strip()


def is_test_pending(state: ConnectionHealth | None) -> bool:
    """Return whether a test was requested and has not been done since."""
    if state is None or state.test_requested_at is None:
        return False
    return state.last_tested_at is None or state.last_tested_at < state.test_requested_at


def test_checks(state: ConnectionHealth | None) -> list[dict[str, Any]]:
    """Return the checks of the last test, each with the CSS class of its badge (`css`)."""
    css = {"ok": "ok", "warn": "attention", "fail": "rejected"}
    checks = state.last_test if state else []
    return [{**check, "css": css.get(str(check.get("result")), "pending")} for check in checks]


def follower_count(feed_id: int, *, owner_id: int) -> int:
    """Return how many persons take a feed now with an account that is not paper, without its owner.

    Needs all tenants' rows.
    """
    live = Subscription.objects.filter(
        feed_id=feed_id, archived_at=None, connection__archived_at=None,
        connection__user__isnull=False,
    ).exclude(connection__type="paper")  # fmt: skip
    others = live.exclude(connection__user_id=owner_id)
    persons: int = others.values("connection__user_id").distinct().count()
    return persons
