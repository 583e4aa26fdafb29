"""Capabilities of an account in a terminal. They need no library."""

from datetime import timedelta
from functools import cache

from brokers.account_capabilities import Capabilities
from brokers.dwx.client import days_of
from brokers.types import (
    ConnectionSpec,
    ExitSafety,
    OrderField,
    OrderType,
    PositionMode,
    TimeInForce,
)

SHORTEST_EXPIRY = timedelta(minutes=11)  # docs.mql4.com/trading/OrderSend: at least ten


def capabilities_of(spec: ConnectionSpec, *, takes_expiry: bool = True) -> Capabilities:
    """Return what an account supports, by its connection's settings.

    takes_expiry: it is MetaTrader 4's expert advisor, which passes an order's expiry on; that of
    MetaTrader 5 ignores it.
    """
    folder = str(spec.settings.get("folder") or "")
    return _capabilities(days_of(spec), folder, takes_expiry=takes_expiry)


@cache  # called for each order of a bundle
def _capabilities(days: int, folder: str, *, takes_expiry: bool) -> Capabilities:
    return Capabilities(
        order_types=frozenset({OrderType.MARKET, OrderType.LIMIT, OrderType.STOP}),
        times_in_force=frozenset(
            {TimeInForce.GTC, TimeInForce.GTD} if takes_expiry else {TimeInForce.GTC}
        ),
        shortest_gtd=SHORTEST_EXPIRY if takes_expiry else timedelta(0),
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
        closes_tickets_once=takes_expiry,  # at MetaTrader 5 the ticket stays
        keeps_worst_price=True,
        changes_orders=frozenset({OrderField.PRICE}),
        checks_worst_price=True,  # a command has no field for it (`preflight.check_worst_price`)
    )
