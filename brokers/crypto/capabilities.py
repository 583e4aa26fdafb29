"""What an account at a crypto exchange can do, without ccxt."""

from datetime import timedelta
from functools import cache

from brokers.account_capabilities import Capabilities
from brokers.crypto.exchanges import ARRIVES_SECONDS, rules
from brokers.types import ConnectionSpec, ExitSafety, OrderType, PositionMode, TimeInForce


def capabilities_of(spec: ConnectionSpec) -> Capabilities:
    """What an account can do, by its exchange and its settings."""
    return _capabilities(spec.exchange_name, str(spec.settings.get("market") or "spot"))


@cache  # called for each order of a bundle
def _capabilities(exchange_name: str, market: str) -> Capabilities:
    known, swap = rules(exchange_name), market == "swap"
    return Capabilities(
        order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}),
        times_in_force=frozenset({TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK}),
        native_stops=False,
        modify=False,
        position_modes=frozenset({PositionMode.NETTING}),
        partial_close=True,
        event_stream=False,  # orders and fills are polled, each `update_interval_seconds`
        price_stream=True,  # polled each prices.POLL_SECONDS
        lookup_horizon=known.lookup_horizon(market),
        arrives_within=timedelta(seconds=ARRIVES_SECONDS),
        refuses_repeated_ids=known.unique_ids,  # the others: among open orders
        exit_safety=ExitSafety.REDUCE_ONLY if swap else ExitSafety.CANCEL_FIRST,
        session=False,
        needs_credentials=True,
        submit_many=False,
        fills_horizon=known.fills_horizon,
        quotes=True,
        names_time_in_force=known.names_time_in_force,
        what_if=False,  # no exchange reports an order's margin and commission before it is sent
    )
