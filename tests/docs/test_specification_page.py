"""The page of the specification's words is whole, and names files and names that exist."""

import re
from pathlib import Path

import pytest

from buses.catalogue import CATALOGUE
from common.operational.reading import parse
from execution.models import Status
from positions.close_reasons import TARGETS, CloseReason
from tests.common.operational.test_document import SPECIFIED

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/specification.md"
SPAN = re.compile(r"`([^`]+)`")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text().splitlines()
    if line.startswith("|") and not line.startswith(("| ---", "| term"))
]
PLACES = sorted({place for row in ROWS for place in SPAN.findall(row[-1])})


def test_each_row_has_a_term_and_a_place() -> None:
    assert len(ROWS) > 20
    for row in ROWS:
        assert len(row) == 3, row
        assert SPAN.findall(row[2]), row


@pytest.mark.parametrize("place", PLACES)
def test_place_exists_and_holds_the_name(place: str) -> None:
    path, _, name = place.partition(" ")
    file = ROOT / path
    assert file.exists(), f"{place}: no such file"
    if name:
        assert re.search(rf"\b{re.escape(name)}\b", file.read_text()), f"{place}: no such name"


SPECIFIED_NAMES = (
    "ExecuteSignal", "SignalObserver", "SignalExecutionService", "PositionService",
    "ConnectionService", "MonitorPositions", "UpdateAnalytics", "HasEncryptedCredentials",
    "ConnectionHealthCheck", "IBKROrderManager", "OrderValidator", "ExecutionTracker",
    "ORDER_UPDATE", "FANOUT_DONE", "ANALYTICS_READY", "FILL", "orders.{status}.{symbol}",
    "signals.approved.>", "mt5.fills.*", "order_execution_archive", "register_fill_callback",
    "trade_plan_id", "strategy_id", "RECEIVED", "VALIDATED", "CLOSED",
)  # fmt: skip


@pytest.mark.parametrize("name", SPECIFIED_NAMES)
def test_each_name_of_the_specification_is_found_here(name: str) -> None:
    assert f"`{name}`" in PAGE.read_text() or f" `{name}`" in PAGE.read_text()


def test_page_has_every_setting_event_status_and_close_reason() -> None:
    terms = set(SPAN.findall(PAGE.read_text()))
    settings = {name for group, keys in parse(SPECIFIED).items() for name in (group, *keys)}
    reasons = set(CloseReason.values) - {target.value for target in TARGETS}
    wanted = settings | reasons | {one.type for one in CATALOGUE} | set(Status.values)
    assert sorted(wanted - terms) == []
