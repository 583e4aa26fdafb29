"""Capabilities of an IBKR account, without ib_async.

Importing it takes half a second and 35 MB: a process that only displays forms never loads it.
"""

from datetime import UTC, timedelta
from zoneinfo import ZoneInfo

from brokers.account_capabilities import Capabilities
from brokers.ibkr.endpoint import NEW_YORK
from brokers.types import (
    ConnectionSpec,
    ExitSafety,
    OrderField,
    OrderType,
    PositionMode,
    TimeInForce,
)
from common.clocks import market_now

SECOND = timedelta(seconds=1)
CLOCKS_APART = 5 * SECOND  # so far TWS's clock may be behind ours before the connection test warns


def capabilities_of(spec: ConnectionSpec) -> Capabilities:
    """Return what the account supports. TWS lists today only: both horizons end at its midnight."""
    today = _since_midnight(str(spec.settings.get("timezone") or NEW_YORK))
    return Capabilities(
        order_types=frozenset(OrderType),
        times_in_force=frozenset(TimeInForce),
        native_stops=True,
        modify=True,
        position_modes=frozenset({PositionMode.NETTING}),
        partial_close=True,
        event_stream=True,
        price_stream=True,
        lookup_horizon=today,
        refuses_repeated_ids=False,
        exit_safety=ExitSafety.OCA,
        session=True,
        needs_credentials=False,  # its owner logs the gateway in
        fills_horizon=today,
        quotes=True,
        what_if=True,
        reports_margin=True,
        changes_orders=frozenset(OrderField),
    )


def _since_midnight(timezone: str) -> timedelta:
    """Return the time since midnight in TWS's zone, in whole seconds. Invalid zones: New York.

    It is never too long: what TWS may list as yesterday's must not count as absent. So where a
    midnight comes twice, the second one ends the day.
    """
    try:
        zone = ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        zone = ZoneInfo(NEW_YORK)
    now = market_now()
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    both = (midnight.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    since = now - max(moment for moment in both if moment <= now)
    return max(since - CLOCKS_APART, timedelta(0)) // SECOND * SECOND
