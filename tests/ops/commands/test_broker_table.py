"""The tables of broker capabilities in docs match the adapters."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from brokers.registry import BUILT_IN, capabilities_of
from brokers.types import ConnectionSpec, TimeInForce
from brokers.types import OrderType as SentType
from ops.management.commands import broker_table
from signals.models import OrderType


def test_pages_match_the_adapters() -> None:
    call_command("broker_table", "--check")


def test_every_broker_type_and_checked_exchange_has_a_column() -> None:
    headings = [column.heading for column in broker_table.columns()]
    assert headings[:4] == ["Paper", "Interactive Brokers", "MetaTrader 5", "MetaTrader 4"]
    assert {"Binance", "Bybit", "OKX", "Kraken"} <= set(headings)
    ours = [path for path in BUILT_IN.values() if path.startswith("brokers.")]
    assert len(headings) == len(ours) - 1 + 4
    assert len(set(headings)) == len(headings)


def test_accounts_of_one_type_that_differ_are_distinguished() -> None:
    mt5 = next(column for column in broker_table.columns() if column.heading == "MetaTrader 5")
    assert mt5.cell(lambda can: can.exit_safety.value) == "hedging: TICKET; netting: CANCEL_FIRST"
    assert mt5.cell(lambda can: str(can.session)) == "True"


def test_order_types_page_states_every_type_and_time_of_each_broker() -> None:
    page, rows = broker_table.ORDER_TYPES_PAGE, broker_table.pages()[broker_table.ORDER_TYPES_PAGE]
    names = [title.strip("`") for title, _ in rows]
    changes = ["change of its price", "change of its quantity"]
    levels = ["stop loss of a position", "take profit of a position"]
    slices = "TWAP`, `VWAP"
    combined = [
        "conditional entry", "OCO pair", "bracket", "bracket with several targets", slices,
        "break-even rule", "trailing rule", "time or condition exit",
    ]  # fmt: skip
    assert names == [*OrderType.values, *TimeInForce, *combined, *changes, *levels]
    written = broker_table.table(rows)
    assert written in page.read_text()
    by_name = dict(zip(names, written.splitlines()[2:], strict=True))
    cells = {name: line.split(" | ")[1:] for name, line in by_name.items()}
    by_broker = dict(
        zip((one.heading for one in broker_table.columns()), cells["GTD"], strict=True)
    )
    assert by_broker["Paper"] == "native"
    assert by_broker["MetaTrader 4"] == "native"
    assert by_broker["MetaTrader 5 by files"] == "emulated |"
    sliced = {cell.rstrip(" |") for cell in cells.pop(slices)}
    assert {"emulated (one position)", "emulated (a position each)"} <= sliced
    rules = {cell.rstrip(" |") for cell in cells.pop("trailing rule")}
    assert rules == {cell.rstrip(" |") for cell in cells.pop("break-even rule")}
    assert {"emulated", "emulated (moves the broker's stop)"} <= rules
    found = {cell.rstrip(" |") for line in cells.values() for cell in line}
    ways = ("native", "emulated", "refused")
    by_market = {f"spot: {spot}; perpetuals: {swap}" for spot in ways for swap in ways}
    by_mode = {f"hedging: {one}; netting: {other}" for one in ways for other in ways}
    assert found <= {*ways, *by_market, *by_mode}
    touched = {cell.rstrip(" |") for cell in cells["IF_TOUCHED"]}
    assert touched == {"emulated"}  # no adapter has it
    mt5 = [one.heading for one in broker_table.columns()].index("MetaTrader 5")
    assert [cells[name][mt5] for name in changes] == ["native", "refused"]


def test_check_detects_a_stale_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "brokers.md"
    rows = broker_table.pages()[broker_table.PAGE]
    monkeypatch.setattr(broker_table, "pages", lambda: {page: rows})
    page.write_text("no markers\n")
    with pytest.raises(CommandError, match="are missing"):
        call_command("broker_table")
    page.write_text(f"before\n{broker_table.BEGIN}\n| old |\n{broker_table.END}\nafter\n")
    with pytest.raises(SystemExit) as ended:
        call_command("broker_table", "--check")
    assert ended.value.code == 1
    call_command("broker_table")
    call_command("broker_table", "--check")
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith(f"|\n{broker_table.END}\nafter\n")


CAN = capabilities_of("paper", ConnectionSpec("", "", "", {}))


@pytest.mark.parametrize(
    ("title", "changed", "cell"),
    [
        ("`GTD`", {}, "native"),
        ("`GTD`", {"times_in_force": frozenset({TimeInForce.GTC})}, "emulated"),
        ("`GTD`", {"times_in_force": frozenset({TimeInForce.IOC})}, "refused"),
        ("conditional entry", {}, "emulated"),
        ("conditional entry", {"order_types": frozenset()}, "refused"),
        ("OCO pair", {"order_types": frozenset()}, "refused"),
        ("OCO pair", {"order_types": frozenset({SentType.LIMIT})}, "emulated (LIMIT, STOP_LIMIT)"),
        ("bracket", {}, "native"),
        ("bracket", {"native_stops": False}, "emulated"),
        ("bracket with several targets", {}, "emulated"),
        ("bracket with several targets", {"partial_close": False}, "refused"),
        ("break-even rule", {}, "emulated (moves the broker's stop)"),
        ("trailing rule", {"native_stops": False}, "emulated"),
        ("trailing rule", {"modify": False}, "emulated"),
        ("`TWAP`, `VWAP`", {"order_types": frozenset({SentType.LIMIT})}, "refused"),
        ("time or condition exit", {"order_types": frozenset({SentType.LIMIT})}, "refused"),
    ],
)  # fmt: skip
def test_cell_follows_from_the_capabilities(title: str, changed: Any, cell: str) -> None:
    describe = dict(broker_table.pages()[broker_table.ORDER_TYPES_PAGE])[title]
    assert describe(replace(CAN, **changed)) == cell
