"""What a paper account can do."""

from datetime import timedelta
from functools import cache

from brokers.account_capabilities import Capabilities
from brokers.types import (
    ConnectionSpec,
    ExitSafety,
    OrderField,
    OrderType,
    PositionMode,
    TimeInForce,
)


def capabilities_of(spec: ConnectionSpec) -> Capabilities:
    """Return what an account can do, by its connection's settings."""
    return _capabilities(
        spec.settings.get("position_mode") or "", bool(spec.settings.get("native_stops", True))
    )


@cache  # called for each order of a bundle
def _capabilities(mode: str, native_stops: bool) -> Capabilities:
    return Capabilities(
        order_types=frozenset(
            {OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT}
        ),
        times_in_force=frozenset(TimeInForce),
        native_stops=native_stops,
        modify=True,
        position_modes=frozenset([PositionMode(mode)] if mode else PositionMode),
        partial_close=True,
        event_stream=True,
        price_stream=False,
        lookup_horizon=timedelta(days=3650),
        refuses_repeated_ids=False,
        exit_safety=ExitSafety.TICKET,
        session=False,
        needs_credentials=False,
        submit_many=True,
        fills_horizon=timedelta(days=3650),
        quotes=True,
        own_prices=False,
        what_if=True,
        changes_orders=frozenset(OrderField),
    )
