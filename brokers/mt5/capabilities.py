"""What a MetaTrader 5 account can do. No package is needed."""

from functools import cache

from brokers.account_capabilities import Capabilities
from brokers.mt5.lookup import HORIZON
from brokers.mt5.session import terminal_of
from brokers.types import ConnectionSpec, ExitSafety, OrderType, PositionMode, TimeInForce

RESTING = frozenset({OrderType.LIMIT, OrderType.STOP})


def lane_of(spec: ConnectionSpec) -> str:
    """The queue of the worker beside that terminal; nobody else may call for the account."""
    return f"mt5.{terminal_of(spec)}"


def believed_mode(spec: ConnectionSpec) -> PositionMode:
    """The position mode by the settings, before the account was seen."""
    value = spec.settings.get("position_mode")
    return PositionMode(value) if value in set(PositionMode) else PositionMode.HEDGING


def capabilities_of(spec: ConnectionSpec, seen: PositionMode | None = None) -> Capabilities:
    """Return what an account can do. seen: its mode, where a process has seen it."""
    mode = seen or believed_mode(spec)
    value = spec.settings.get("native_stops")
    default = mode is PositionMode.HEDGING
    return _capabilities(mode, bool(value) if value is not None else default, lane_of(spec))


@cache
def _capabilities(mode: PositionMode, native_stops: bool, lane: str) -> Capabilities:
    """Exits of a hedging account name their position's ticket, and the server refuses more than it
    holds (10036, 10038): TICKET. On a netting account any order the other way reduces, and beyond
    what is held it reverses; nothing in the API forbids it: CANCEL_FIRST. There stop and target
    belong to the whole position, so that one signal's would close another's: we watch them, unless
    the owner says `native_stops`."""
    hedging = mode is PositionMode.HEDGING
    return Capabilities(
        order_types=frozenset(OrderType),
        times_in_force=frozenset(TimeInForce),
        native_stops=native_stops,
        modify=True,
        position_modes=frozenset([mode]),
        partial_close=True,
        event_stream=False,  # the package calls nobody back: it is polled
        price_stream=True,
        lookup_horizon=HORIZON,
        refuses_repeated_ids=False,
        exit_safety=ExitSafety.TICKET if hedging else ExitSafety.CANCEL_FIRST,
        session=True,
        lane=lane,
        needs_credentials=True,
        submit_many=True,
        fills_horizon=HORIZON,
        quotes=True,
        what_if=True,
        # 10015; a dealer's server does, an exchange fills a limit order that it can fill at once.
        refuses_reached=RESTING if hedging else RESTING - {OrderType.LIMIT},
        one_at_a_time=True,
        reports_margin=True,
        keeps_worst_price=True,
        # symbols with market execution (`order_encoding.market_or_pending_order`)
        checks_worst_price=True,
    )
