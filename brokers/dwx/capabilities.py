"""Capabilities of an account in a terminal. They need no library."""

from datetime import timedelta
from functools import cache

from brokers.account_capabilities import Capabilities
from brokers.dwx.client import days_of
from brokers.types import ConnectionSpec, ExitSafety, OrderType, PositionMode, TimeInForce


def capabilities_of(spec: ConnectionSpec) -> Capabilities:
    """Return what an account supports, by its connection's settings."""
    return _capabilities(days_of(spec), str(spec.settings.get("folder") or ""))


@cache  # called for each order of a bundle
def _capabilities(days: int, folder: str) -> Capabilities:
    return Capabilities(
        order_types=frozenset(OrderType),
        times_in_force=frozenset({TimeInForce.GTC}),
        native_stops=True,
        modify=True,
        position_modes=frozenset({PositionMode.HEDGING}),
        partial_close=True,
        event_stream=True,
        price_stream=True,
        lookup_horizon=timedelta(days=days),
        refuses_repeated_ids=False,
        exit_safety=ExitSafety.TICKET,
        session=True,
        session_key=f"mt4 {folder.casefold()}" if folder else "",  # one process for each folder
        needs_credentials=True,
        fills_horizon=timedelta(days=days),
        quotes=True,
        refuses_reached=frozenset({OrderType.LIMIT, OrderType.STOP}),  # "invalid price"
        one_at_a_time=True,
        keeps_worst_price=True,
        checks_worst_price=True,  # a command has no field for it (`preflight.check_worst_price`)
    )
