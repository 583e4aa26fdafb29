"""What a broker account supports, as flags and sets that the order engine checks."""

from dataclasses import dataclass
from datetime import timedelta

from brokers.types import ExitSafety, OrderField, OrderType, PositionMode, TimeInForce


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an account supports. Code checks this, never `isinstance` or a broker's name."""

    order_types: frozenset[OrderType]
    times_in_force: frozenset[TimeInForce]
    native_stops: bool
    modify: bool
    position_modes: frozenset[PositionMode]
    partial_close: bool
    event_stream: bool  # the broker pushes reports: `events` has them, `stream_events` notifies
    price_stream: bool  # `stream_quotes` works
    lookup_horizon: timedelta | None  # how far back find_order is certain; None: it cannot look up
    refuses_repeated_ids: bool
    exit_safety: ExitSafety
    session: bool  # one process at a time may use it, so it needs a session lane
    needs_credentials: bool
    submit_many: bool = False
    fills_horizon: timedelta | None = None  # how far back fills_since is certain; None: cannot list
    cash_flows_horizon: timedelta | None = None  # how far back cash_flows goes; None: cannot list
    funding_horizon: timedelta | None = None  # how far back funding goes; None: there is none
    quotes: bool = False  # `quote` works
    what_if: bool = False  # `what_if` works
    reports_margin: bool = False  # the broker computes margins: call `what_if` before each entry
    keeps_worst_price: bool = False  # its market orders have a price limit; else use a limit order
    checks_worst_price: bool = False  # some symbols have no limit: checked right before sending
    names_time_in_force: bool = True  # its answers do; else an order at its limit just ends
    session_key: str = ""  # accounts with the same key share a session and lane; '': its own
    lane: str = ""  # its only lane, if a worker must run beside its program ("mt5.main")
    arrives_within: timedelta = timedelta(0)  # after sending, an absence proves nothing so long
    own_prices: bool = True  # its quotes are its broker's, not prices that we feed to it
    # Types that it rejects if the market has reached their price; others fill or trigger at once.
    # With LIMIT it also rejects a stop-limit order whose limit the market has reached at its stop.
    refuses_reached: frozenset[OrderType] = frozenset()
    shortest_gtd: timedelta = timedelta(0)  # it refuses an expiry that is nearer than this
    # What of a working order `change_order` changes in place.
    changes_orders: frozenset[OrderField] = frozenset()
    order_stream: bool = False  # it announces changes (`OrderWatcher`), and is polled for them
    closes_tickets_once: bool = False  # closing a part leaves another ticket: a repeated exit fails
    one_at_a_time: bool = False  # one command at a time: the next waits for the outcome

    @property
    def lists_orders(self) -> bool:
        """Whether orders and executions can be listed (`brokers/order_listing.py`)."""
        return self.fills_horizon is not None
