"""What an account at a crypto exchange can do, without ccxt."""

from datetime import timedelta
from functools import cache

from brokers.account_capabilities import Capabilities
from brokers.crypto.exchanges import ARRIVES_SECONDS, rules
from brokers.types import (
    ConnectionSpec,
    ExitSafety,
    OrderField,
    OrderType,
    PositionMode,
    TimeInForce,
)


def capabilities_of(spec: ConnectionSpec) -> Capabilities:
    """What an account can do, by its exchange and its settings."""
    return market_capabilities(spec.exchange_name, str(spec.settings.get("market") or "spot"))


@cache  # called for each order of a bundle
def market_capabilities(exchange_name: str, market: str) -> Capabilities:
    """What an account can do at an exchange, on its market: 'spot' or 'swap'."""
    known, swap = rules(exchange_name), market == "swap"
    stop_limit = frozenset({OrderType.STOP_LIMIT} if market in known.stop_limits else ())
    return Capabilities(
        order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}) | stop_limit,
        times_in_force=(
            frozenset({TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK})
            | ({TimeInForce.GTD} if market in known.gtd else set())
        ),
        shortest_gtd=known.gtd.get(market, timedelta(0)),
        refuses_reached=stop_limit if known.refuses_reached_stop else frozenset(),
        native_stops=market in known.levels,
        modify=market in known.levels,
        position_modes=frozenset({PositionMode.NETTING}),
        partial_close=True,
        event_stream=False,  # orders and fills are polled, each `update_interval_seconds`
        order_stream=market in known.order_streams,  # and at once when a websocket announces one
        price_stream=True,  # by websocket, else polled each prices.POLL_SECONDS
        lookup_horizon=known.lookup_horizon(market),
        arrives_within=timedelta(seconds=ARRIVES_SECONDS),
        refuses_repeated_ids=known.unique_ids,  # the others: among open orders
        exit_safety=ExitSafety.REDUCE_ONLY if swap else ExitSafety.CANCEL_FIRST,
        session=False,
        needs_credentials=True,
        submit_many=False,
        fills_horizon=known.fills_horizon,
        funding_horizon=known.funding_horizon if swap else None,
        quotes=True,
        names_time_in_force=known.names_time_in_force,
        changes_orders=frozenset(OrderField) if market in known.amends else frozenset(),
        what_if=False,  # no exchange reports an order's margin and commission before it is sent
    )
