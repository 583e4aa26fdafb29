"""The rows that the claim and the preview read, one type for each statement in `claim_sql.py`."""

from datetime import datetime, time
from decimal import Decimal
from typing import Any, NamedTuple, get_type_hints

from brokers.price_rounding import PriceGrid, Tick
from brokers.trading_hours import StoredHours
from connections.entry_limits import EntryLimits

QUOTE_MAX_AGE_SECONDS = 60
"""An older quote is stale: nothing is decided by it."""


class OwnerTerms(NamedTuple):
    """What the preset of an account and the subscription set, for all orders that have both.

    The preset's columns are NULL without a preset; `validity.validity_error` ends such entries
    before any of them is read, so only what it checks is optional here.

    limits: of the preset's and the subscription's the tighter ones; own_*: the subscription's,
    where both are checked.
    """

    sizing_mode: str
    fixed_quantity: Decimal | None
    percent_of_balance: Decimal | None
    fixed_amount: Decimal | None
    risk_percent: Decimal | None
    percent_of_equity: Decimal | None
    risk_amount: Decimal | None
    per_balance: Decimal | None
    small_risk_percent: Decimal
    normal_risk_percent: Decimal
    large_risk_percent: Decimal
    allow_minimum_quantity: bool
    multiplier: Decimal
    small_multiplier: Decimal
    normal_multiplier: Decimal
    large_multiplier: Decimal
    own_max_slippage: Decimal | None
    own_slippage_unit: str | None
    own_max_spread: Decimal | None
    own_max_spread_unit: str | None
    own_allowed_symbols: list[str] | None
    own_trading_sessions: list[str] | None
    trading_day_zone: str
    trading_day_start: time
    max_signal_age_seconds: int | None
    broker_holds_stops: bool
    decision_provider_id: int | None
    limits: EntryLimits

    @property
    def has_preset(self) -> bool:
        """Whether the account has a preset."""
        return self.max_signal_age_seconds is not None


class OrderRow(NamedTuple):
    """An order with its connection and account, and the terms of its owner.

    type: the broker type. age: seconds since the order was written. account_age: since the account
    was read.

    The account's columns (`currency` to `account_age`) are NULL until the account was read.
    `eligibility.cannot_trade` ends such entries before another of these columns is read, so only
    those that it checks are optional here. pause_*: of the pause that stops an entry.

    subscription_code: why the subscription takes no such entry any more, '' if it does;
    subscription_expires_at: market time. Both empty without a subscription.

    is_held_leg: of an OCO pair, and its trigger has not fired; other_leg_fired: and that of its
    other leg has.

    awaits_condition: the condition of its signal does not hold yet. has_exit_condition: another
    signal may end it.

    limiting_subscription_id: of the subscription, if it sets a limit of its own.

    own_stop_loss, own_take_profit, own_valid_until: the entry's own, instead of its signal's.
    """

    id: int
    status: str
    connection_id: str
    position_id: int | None
    signal_id: int | None
    leg: str
    pair: str
    symbol: str
    side: str
    order_type: str
    time_in_force: str
    quantity: Decimal
    requested_quantity: Decimal | None
    own_stop_loss: Decimal | None
    own_take_profit: Decimal | None
    own_valid_until: datetime | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    attempt: int
    send_retries: int
    reason: str
    route_state: str
    retried_at: datetime | None
    priority: int
    client_order_id: str | None
    is_due: bool
    age: float
    type: str
    account: str
    exchange_name: str
    settings: dict[str, Any]
    sealed_credentials: bytes | None
    identity: str
    identity_credentials_digest: str
    owner_id: int
    instrument_book: str
    data_connection_id: int | None
    is_active: bool
    is_paused: bool
    broker_host: str
    lane: str
    aggregation_ms: int
    currency: str | None
    balance: Decimal
    equity: Decimal | None
    free_margin: Decimal
    leverage: Decimal
    position_mode: str
    account_age: int
    subscription_multiplier: Decimal
    symbol_map: dict[str, str] | None
    signal_pair: str | None
    is_held_leg: bool
    other_leg_fired: bool
    oco_fired: bool
    awaits_condition: bool
    has_exit_condition: bool
    pause_code: str | None
    pause_value: Decimal | None
    pause_maximum: Decimal | None
    pause_detail: str | None
    pause_name: str | None
    pause_unit: str | None
    subscription_code: str
    subscription_expires_at: datetime | None
    preset_id: int | None
    limiting_subscription_id: int | None
    terms: OwnerTerms


# An order is loaded in two parts (`order_loading.py`): what is its own and its account's, and the
# terms, whose limits are columns of their own.
_row_type: Any = NamedTuple  # mypy knows only those whose fields are written out
LoadedOrder: type[Any] = _row_type("LoadedOrder", list(get_type_hints(OrderRow).items())[:-1])
_TERMS = {**get_type_hints(OwnerTerms), **get_type_hints(EntryLimits)}
TermsRow: type[Any] = _row_type(
    "TermsRow",
    [("preset_id", Any), ("limiting_subscription_id", Any)]
    + [(name, kind) for name, kind in _TERMS.items() if name != "limits"],
)


class SignalRow(NamedTuple):
    """The signal of an entry, with the levels that it has now. is_closed: all of it is closed."""

    id: int
    feed_id: int
    direction: str
    order_type: str
    open_price: Decimal | None
    trail_distance: Decimal | None
    trail_pips: Decimal | None
    trail_percent: Decimal | None
    activation_price: Decimal | None
    published_at: datetime
    valid_until: datetime | None
    max_slippage_pips: Decimal | None
    max_slippage_unit: str
    max_spread: Decimal | None
    max_spread_unit: str
    risk_category: str
    provider_quantity: Decimal | None
    provider_equity: Decimal | None
    provider_currency: str
    cancelled_at: datetime | None
    max_signal_notional: Decimal | None
    max_signal_currency: str
    sl: Decimal | None
    target_prices: list[Decimal]
    target_fractions: list[Decimal]
    is_closed: bool
    execution_style: str = ""
    duration_seconds: int | None = None
    slice_count: int | None = None
    slice_variation: Decimal | None = None
    price_limit: Decimal | None = None
    catch_up: str = ""
    at_end: str = ""
    trail_atr: Decimal | None = None
    trail_atr_minutes: int | None = None
    trade_plan_id: str = ""


class ExitRow(NamedTuple):
    """What the evaluation of an exit reads of its position. Quantities: base units.

    is_protected: the broker holds a level, or may hold one. is_known, is_read: nothing has happened
    to the position since the broker was read; and that read is recent. compared_for: seconds that
    the exit has awaited a comparison, if one found the position meanwhile. has_exit_ahead: another
    exit is in flight or waits in front of this one. shares_broker_position: several of our
    positions may be one at the broker. entry_sent_as: the id that the broker knows the entry by.
    closable: what is open and not taken by exits ahead. has_doubted_facts: what the account's
    broker lists is being read again. has_old_facts: it was not read in the last minute.
    """

    order_id: int
    quantity: Decimal
    opened_quantity: Decimal
    broker_position_id: str
    entry_price: Decimal
    pip: Decimal
    conversion_rate: Decimal
    protection_suspended: bool
    broker_quantity: Decimal | None
    is_protected: bool
    is_read: bool
    is_known: bool
    broker_quantity_is_shared: bool
    compared_for: Decimal | None
    needs_comparison: bool
    has_exit_ahead: bool
    shares_broker_position: bool
    entry_client_order_id: str
    entry_sent_as: str
    closable: Decimal
    has_doubted_facts: bool = False
    has_old_facts: bool = False


class InstrumentRow(NamedTuple):
    """An instrument as its broker lists it. Quantities: base units; tick: quote currency.

    rivals: other symbols of its pair that fit equally well. hours: when it is traded, if known.
    """

    book: str
    pair: str
    symbol: str
    is_preferred: bool
    rivals: str
    digits: int
    pip: Decimal
    quantity_min: Decimal
    quantity_step: Decimal
    quantity_max: Decimal
    stops_level: Decimal
    margin_rate: Decimal
    close_min: Decimal
    close_worth_min: Decimal
    tick: Decimal
    hours: StoredHours | None = None
    price_steps: list[tuple[str, str]] | None = None

    @property
    def grid(self) -> Tick:
        """The tick at each price, to round by: `tick` is the smallest of them."""
        if not self.price_steps:
            return self.tick
        return PriceGrid(tuple((Decimal(low), Decimal(step)) for low, step in self.price_steps))


class QuoteRow(NamedTuple):
    """The latest quote of a pair from one price source. age: seconds."""

    data_connection_id: int
    symbol: str
    bid: Decimal
    ask: Decimal
    time: datetime
    age: int

    @property
    def is_fresh(self) -> bool:
        """Whether it is not stale."""
        return self.age <= QUOTE_MAX_AGE_SECONDS


class SourceRow(NamedTuple):
    """A price source without a usable price for these pairs. is_own: it belongs to a tenant."""

    id: int
    name: str
    is_live: bool
    error: str
    is_own: bool
    error_code: str
    pairs: list[str]


class ExposureRow(NamedTuple):
    """The exposure of an account in a pair, with orders in flight as filled. Account currency.

    pair: '' for all pairs that were not asked for. positions: how many. orders: how many entries
    are sent and not done. unanswered: one of them is a call that has had no answer for a while.
    """

    connection_id: str
    pair: str
    positions: int
    orders: int
    notional: Decimal
    margin: Decimal
    risk: Decimal
    unanswered: bool


class SideRow(NamedTuple):
    """A side of a pair that an account holds or may hold."""

    connection_id: str
    pair: str
    side: str
    is_closing: bool


class WaitingRow(NamedTuple):
    """The oldest entry of an account that waits for an earlier command."""

    connection_id: str
    id: int


class IntentRow(NamedTuple):
    """An order whose intent was written."""

    id: int
    fence: int
    client_order_id: str
