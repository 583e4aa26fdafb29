"""Capabilities of a MetaTrader 5 account. They need no package."""

from functools import cache

from brokers.account_capabilities import Capabilities
from brokers.mt5.lookup import CASH_FLOWS_HORIZON, HORIZON
from brokers.mt5.session import terminal_of
from brokers.types import (
    ConnectionSpec,
    ExitSafety,
    OrderField,
    OrderType,
    PositionMode,
    TimeInForce,
)

RESTING = frozenset({OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT})


def lane_of(spec: ConnectionSpec) -> str:
    """Return the lane of the worker beside the terminal; no other process may call the account."""
    return f"mt5.{terminal_of(spec)}"


def configured_mode(spec: ConnectionSpec) -> PositionMode:
    """Return the position mode by the settings, for use before the account was read."""
    value = spec.settings.get("position_mode")
    return PositionMode(value) if value in set(PositionMode) else PositionMode.HEDGING


def capabilities_of(spec: ConnectionSpec, actual_mode: PositionMode | None = None) -> Capabilities:
    """Return what an account supports. actual_mode: its position mode, if this process read it."""
    mode = actual_mode or configured_mode(spec)
    value = spec.settings.get("native_stops")
    default = mode is PositionMode.HEDGING
    return _capabilities(mode, bool(value) if value is not None else default, lane_of(spec))


@cache
def _capabilities(mode: PositionMode, native_stops: bool, lane: str) -> Capabilities:
    """Build the capabilities of a position mode.

    Exits of a hedging account name their position's ticket, and the server rejects more than is
    open (10036, 10038): TICKET. On a netting account an order on the other side reduces the
    position, and beyond its quantity reverses it, which the API cannot prevent: CANCEL_FIRST.
    Stop and target then belong to the whole position, so one signal's would close another's: the
    engine executes them, unless the owner sets `native_stops`."""
    hedging = mode is PositionMode.HEDGING
    return Capabilities(
        order_types=RESTING | {OrderType.MARKET},
        times_in_force=frozenset(TimeInForce),
        native_stops=native_stops,
        modify=True,
        position_modes=frozenset([mode]),
        partial_close=True,
        event_stream=False,  # the package has no callbacks: it is polled
        order_stream=True,  # at once when the terminal's numbers change (`activity.py`)
        price_stream=True,
        lookup_horizon=HORIZON,
        refuses_repeated_ids=False,
        exit_safety=ExitSafety.TICKET if hedging else ExitSafety.CANCEL_FIRST,
        session=True,
        lane=lane,
        needs_credentials=True,
        submit_many=True,
        fills_horizon=HORIZON,
        cash_flows_horizon=CASH_FLOWS_HORIZON,
        quotes=True,
        what_if=True,
        # 10015 by a dealer's server; an exchange fills a limit order that it can fill at once.
        refuses_reached=RESTING if hedging else RESTING - {OrderType.LIMIT},
        changes_orders=frozenset({OrderField.PRICE}),  # not the volume of a pending order
        one_at_a_time=True,
        reports_margin=True,
        keeps_worst_price=True,
        # symbols with market execution (`order_encoding.market_or_pending_order`)
        checks_worst_price=True,
    )
