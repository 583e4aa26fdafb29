"""docs/specification.md, written from the table of the specification's words."""

import re

from ops.specification.model_terms import MODEL_TERMS
from ops.specification.outside_terms import OUTSIDE_TERMS
from ops.specification.table import Row, Section
from ops.specification.text_terms import TEXT_TERMS

SECTIONS: tuple[Section, ...] = (*MODEL_TERMS, *TEXT_TERMS, *OUTSIDE_TERMS)
HEAD = """\
# The specification's words, and where each lives here

For readers who know Fillcast from its specification: each of its terms, and where it lives. Where
a thing was built otherwise, the middle column says what replaces it and why. `manage.py
specification_page` writes this page from `ops/specification`, and refuses a path or name that does
not exist.
"""
SPECIFIED = (
    "ExecuteSignal", "SignalObserver", "SignalExecutionService", "PositionService",
    "ConnectionService", "MonitorPositions", "UpdateAnalytics", "HasEncryptedCredentials",
    "ConnectionHealthCheck", "IBKROrderManager", "OrderValidator", "ExecutionTracker",
    "ORDER_UPDATE", "FANOUT_DONE", "ANALYTICS_READY", "FILL", "orders.{status}.{symbol}",
    "signals.approved.>", "mt5.fills.*", "order_execution_archive", "register_fill_callback",
    "trade_plan_id", "strategy_id", "idempotency_key", "cancelled_at", "has_error",
    "mark_as_error", "mark_as_active", "get_health_status", "ExecutionConnection",
    "ExecutionLog", "ExecutionPosition", "ExecutionAnalytics", "TradingPreset", "DataConnection",
    "RECEIVED", "VALIDATED", "CLOSED",
)  # fmt: skip
"""Names of the specification, each of which is a term of the table."""


def page() -> str:
    return "\n".join([HEAD, *(_section(section) for section in SECTIONS)])


def terms() -> frozenset[str]:
    """Return the names in the first column."""
    found = [re.findall(r"`([^`]+)`", row.term) for section in SECTIONS for row in section.rows]
    return frozenset(name for names in found for name in names)


def absent_names() -> list[str]:
    """Return the specification's names that no row has."""
    text = " ".join(row.term for section in SECTIONS for row in section.rows)
    return [name for name in SPECIFIED if name not in terms() and f"`{name}`" not in text]


def _section(section: Section) -> str:
    intro = [section.intro, ""] if section.intro else []
    return "\n".join(
        [f"## {section.title}", *intro, "| term | here | where |", "| --- | --- | --- |",
         *map(_line, section.rows), ""]
    )  # fmt: skip


def _line(row: Row) -> str:
    places = ", ".join(f"`{place}`" for place in row.places)
    return f"| {row.term} | {row.here} | {places} |"
