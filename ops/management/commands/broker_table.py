"""manage.py broker_table: what each broker offers, for docs/brokers.md and order-types.md."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from brokers.account_capabilities import Capabilities
from brokers.crypto.exchanges import CHECKED, Exchange
from brokers.registry import BUILT_IN, capabilities_of, form_of
from brokers.types import (
    ConnectionSpec,
    ExitSafety,
    OrderField,
    OrderType,
    PositionMode,
    TimeInForce,
)
from brokers.worst_price import can_limit_price
from config.installation import ROOT
from execution.submission import times_in_force
from execution.submission.triggers import HELD_AS, is_emulated
from signals.models import OrderType as SignalType

PAGE, ORDER_TYPES_PAGE = ROOT / "docs" / "brokers.md", ROOT / "docs" / "order-types.md"
BEGIN, END = "<!-- what brokers offer: written by `make docs` -->", "<!-- until here -->"
FIRST = ("paper", "ibkr", "mt5", "mt4")  # the order of columns; others follow by name

MODES = {mode.lower(): {"position_mode": mode.value} for mode in PositionMode}
VARIANTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "mt5": MODES,
    "crypto": {"spot": {"market": "spot"}, "perpetuals": {"market": "swap"}},
}
BY_DAY = {"ibkr"}  # reports what happened since midnight at the broker, however long ago that was
DAY = timedelta(microseconds=1)
EXCHANGES = {"binance": "Binance", "bybit": "Bybit", "okx": "OKX", "kraken": "Kraken"}
EXITS = {
    ExitSafety.TICKET: "name the position",
    ExitSafety.REDUCE_ONLY: "reduce only",
    ExitSafety.OCA: "one-cancels-all group",
    ExitSafety.CANCEL_FIRST: "after the stop is cancelled",
}


Row = tuple[str, Callable[[Capabilities], str]]  # title, and the text of an account's cell


@dataclass(frozen=True, slots=True)
class Column:
    """One broker. can: the capabilities of its accounts, by variant of their settings."""

    heading: str
    can: Mapping[str, Capabilities]

    def cell(self, describe: Callable[[Capabilities], str]) -> str:
        """Return the text of a cell: once if all variants have the same, else by variant."""
        texts = {variant: describe(can) for variant, can in self.can.items()}
        if len(set(texts.values())) == 1:
            return next(iter(texts.values()))
        if all(variant == text for variant, text in texts.items()):
            return ", ".join(texts)
        return "; ".join(f"{variant}: {text}" for variant, text in texts.items())


def columns() -> list[Column]:
    """Return a column for each built-in broker type, and for each checked exchange."""
    built_in = {
        broker_type for broker_type, path in BUILT_IN.items() if path.startswith("brokers.")
    }
    rest = sorted(built_in.difference(FIRST))
    found = []
    for broker_type in (*(broker_type for broker_type in FIRST if broker_type in built_in), *rest):
        exchanges: Mapping[str, Exchange | None] = (
            CHECKED if broker_type == "crypto" else {"": None}
        )
        for name, known in exchanges.items():
            heading = EXCHANGES.get(name, name) if name else _heading(broker_type)
            can = {
                variant: _can(broker_type, ConnectionSpec("", "", name, settings))
                for variant, settings in VARIANTS.get(broker_type, {"": {}}).items()
                if known is None or known.swap or settings["market"] != "swap"
            }
            found.append(Column(heading, can))
    return found


def _can(broker_type: str, spec: ConnectionSpec) -> Capabilities:
    can = capabilities_of(broker_type, spec)
    return replace(can, lookup_horizon=DAY, fills_horizon=DAY) if broker_type in BY_DAY else can


def _heading(broker_type: str) -> str:
    return (form_of(broker_type).label or broker_type).partition(" (")[0]


def _names(values: Iterable[StrEnum], whole: type[StrEnum]) -> str:
    names = (member.value.lower().replace("_", "-") for member in whole if member in values)
    return ", ".join(names)


def _short(values: Iterable[StrEnum], whole: type[StrEnum]) -> str:
    return ", ".join(member.value for member in whole if member in values)


def _yes(flag: bool) -> str:
    return "yes" if flag else "–"


def _bound(can: Capabilities) -> str:
    if not can_limit_price(can):
        return "–"
    return "before sending; at the fill by symbol" if can.checks_worst_price else "at the fill"


def _back(horizon: timedelta | None) -> str:
    if horizon is None:
        return "–"
    if horizon == DAY:
        return "since midnight at the broker"
    if horizon < timedelta(days=1):
        return f"{horizon / timedelta(hours=1):g} hours"
    return "always" if horizon >= timedelta(days=3650) else f"{horizon.days} days"


def _rows() -> list[Row]:
    return [
        ("orders", lambda can: _names(can.order_types, OrderType)),
        ("time in force", lambda can: _short(can.times_in_force, TimeInForce)),
        ("emulated by Fillcast", _emulated),
        *_combinations(),
        ("positions", lambda can: _names(can.position_modes, PositionMode)),
        ("partial closes", lambda can: _yes(can.partial_close)),
        ("holds stop and target", lambda can: _yes(can.native_stops)),
        ("moves stop and target", lambda can: _yes(can.modify)),
        ("slippage limit", _bound),
        ("exits", lambda can: EXITS[can.exit_safety]),
        ("pushes fills", lambda can: "yes" if can.event_stream else "polled"),
        ("quotes / streams prices",
         lambda can: f"{_yes(can.quotes)} / {_yes(can.price_stream)}"),
        ("margin before the order", lambda can: _yes(can.what_if)),
        ("looks up an order", lambda can: _back(can.lookup_horizon)),
        ("lists executions", lambda can: _back(can.fills_horizon)),
        ("lists deposits", lambda can: _back(can.cash_flows_horizon)),
        ("lists funding", lambda can: _back(can.funding_horizon)),
        ("refuses a repeated id", lambda can: _yes(can.refuses_repeated_ids)),
        ("many orders in one call", lambda can: _yes(can.submit_many)),
        ("needs a session", lambda can: _yes(can.session)),
        ("needs credentials", lambda can: _yes(can.needs_credentials)),
    ]  # fmt: skip


def _support(value: str) -> Callable[[Capabilities], str]:
    def describe(can: Capabilities) -> str:
        if value in can.order_types | can.times_in_force:
            return "native"
        ours = is_emulated(value, can) or times_in_force.is_emulated(value, can)
        return "emulated" if ours else "refused"

    return describe


def _changes(field: OrderField) -> Callable[[Capabilities], str]:
    return lambda can: "native" if field in can.changes_orders else "refused"


def _level(can: Capabilities) -> str:
    return "native" if can.native_stops else "emulated"


TICKETS = {
    frozenset({PositionMode.NETTING}): "one position",
    frozenset({PositionMode.HEDGING}): "a position each",
}


def _slices(can: Capabilities) -> str:
    if OrderType.MARKET not in can.order_types:
        return "refused"
    return f"emulated ({TICKETS.get(can.position_modes, 'one position, or one each')})"


def _conditional(can: Capabilities) -> str:
    """The engine holds an entry of any type that the account takes until its condition holds."""
    return "emulated" if _takes_any(SignalType.values, can) else "refused"


def _takes_any(types: Iterable[str], can: Capabilities) -> bool:
    return any(_support(value)(can) != "refused" for value in types)


def _oco(can: Capabilities) -> str:
    """The engine holds both legs, also of types that the broker takes."""
    legs = [value for value in SignalType.values if value in HELD_AS]
    held = [value for value in legs if is_emulated(value, can, always=True)]
    if not held:
        return "refused"
    return "emulated" if held == legs else f"emulated ({', '.join(held)})"


def _bracket(can: Capabilities) -> str:
    return _level(can) if _takes_any(SignalType.values, can) else "refused"


def _several_targets(can: Capabilities) -> str:
    """A broker holds one target of a position, so the engine watches several."""
    return "emulated" if can.partial_close else "refused"


def _stop_rule(can: Capabilities) -> str:
    """The engine moves the stop, where it is held."""
    return "emulated (moves the broker's stop)" if can.native_stops and can.modify else "emulated"


def _engine_exit(can: Capabilities) -> str:
    """The engine closes the position, at market."""
    return "emulated" if OrderType.MARKET in can.order_types else "refused"


def _combinations() -> list[Row]:
    return [
        ("conditional entry", _conditional),
        ("OCO pair", _oco),
        ("bracket", _bracket),
        ("bracket with several targets", _several_targets),
        ("`TWAP`, `VWAP`", _slices),
        ("break-even rule", _stop_rule),
        ("trailing rule", _stop_rule),
        ("time or condition exit", _engine_exit),
    ]


def _types() -> list[Row]:
    return [(f"`{value}`", _support(value)) for value in (*SignalType.values, *TimeInForce)]


def _emulated(can: Capabilities) -> str:
    """Which types and times in force the broker lacks and the engine has for it."""
    values = [value for value in SignalType.values if _support(value)(can) == "emulated"]
    times = [value for value in TimeInForce if _support(value)(can) == "emulated"]
    names = [value.lower().replace("_", "-") for value in values]
    return ", ".join([*names, *times]) or "–"


def _order_type_rows() -> list[Row]:
    changes = [(f"change of its {field.lower()}", _changes(field)) for field in OrderField]
    levels = [(f"{level} of a position", _level) for level in ("stop loss", "take profit")]
    return [*_types(), *_combinations(), *changes, *levels]


def table(rows: Sequence[Row]) -> str:
    """Return a table with these rows and a column for each broker, in markdown."""
    found = columns()
    lines = [
        f"| | {' | '.join(column.heading for column in found)} |",
        f"|---{'|---' * len(found)}|",
    ]
    for title, describe in rows:
        lines.append(f"| {title} | {' | '.join(column.cell(describe) for column in found)} |")
    return "\n".join(lines)


def pages() -> dict[Path, Sequence[Row]]:
    """Return the rows of the table of each page."""
    return {PAGE: _rows(), ORDER_TYPES_PAGE: _order_type_rows()}


def written(page: str, rows: Sequence[Row]) -> str:
    """Return the page with the table between its markers. Raises ValueError without them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{BEGIN!r} and {END!r} are missing")
    return f"{before}{BEGIN}\n{table(rows)}\n{END}{after}"


class Command(BaseCommand):
    """Write the tables, or check that they are up to date."""

    help = "Write into docs/brokers.md and docs/order-types.md what each broker offers."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--check", action="store_true", help="write nothing; fail if a table would change"
        )

    def handle(self, *_args: Any, check: bool, **_options: Any) -> None:
        """Write the tables. With --check, exit with code 1 if one would change."""
        is_outdated = False
        for page, rows in pages().items():
            before = page.read_text()
            try:
                text = written(before, rows)
            except ValueError as error:
                raise CommandError(f"{page.name}: {error}.") from error
            if before == text:
                continue
            if check:
                is_outdated = True
                self.stderr.write(f"{page.name} is out of date; run `make docs`")
            else:
                page.write_text(text)
                self.stdout.write(f"{page.name} written")
        if is_outdated:
            sys.exit(1)
