"""A signal that has been read and validated, but not stored. Pure."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal

from common.money import plain
from common.reason_codes import Code
from signals.field_error import FieldError
from signals.models import (
    AT_MARKET_FROM_STOP,
    Action,
    Direction,
    OrderType,
    RiskCategory,
    TimeInForce,
)


@dataclass(frozen=True, slots=True)
class Target:
    """Close `fraction` of the position at `price`."""

    price: Decimal
    fraction: Decimal


@dataclass(frozen=True, slots=True)
class SignalDraft:
    """A signal as read. Prices in quote currency, quantities in base units, times aware UTC.

    pair and direction are empty for a MODIFY or CLOSE that takes them from the signal it refers to.
    pair is a word without a currency if only a broker's list can complete it (`listings.py`).
    """

    action: Action = Action.OPEN
    pair: str = ""
    direction: Direction | None = None
    order_type: OrderType = OrderType.MARKET
    open_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_distance: Decimal | None = None  # a trailing stop has one of the four
    trail_pips: Decimal | None = None
    trail_percent: Decimal | None = None
    trail_atr: Decimal | None = None  # average true ranges
    trail_atr_minutes: int | None = None  # length of their candles; None: an hour
    activation_price: Decimal | None = None
    not_before: datetime | None = None
    after_signal: int | None = None
    after_signal_external_id: str = ""
    after_state: str = ""
    close_at: datetime | None = None
    close_after_seconds: int | None = None  # from the first fill
    close_when_signal: int | None = None
    close_when_signal_external_id: str = ""
    close_when_state: str = ""
    sl: Decimal | None = None
    targets: tuple[Target, ...] = ()
    close_fraction: Decimal = Decimal(1)
    time_in_force: TimeInForce = TimeInForce.GTC
    valid_until: datetime | None = None
    valid_for: int | None = None  # seconds from when it is received
    max_slippage_pips: Decimal | None = None  # in max_slippage_unit
    max_slippage_unit: str = ""  # empty: by the asset class
    max_spread: Decimal | None = None  # in max_spread_unit
    max_spread_unit: str = ""  # empty: by the asset class
    break_even_target: int | None = None
    break_even_profit: Decimal | None = None  # in stop_rule_unit, as the other distances
    break_even_offset: Decimal | None = None
    trailing_distance: Decimal | None = None
    trailing_step: Decimal | None = None
    trailing_activation: Decimal | None = None
    stop_rule_unit: str = ""  # empty: by the asset class
    execution_style: str = ""  # empty: one order
    duration_seconds: int | None = None
    slice_count: int | None = None
    slice_variation: Decimal | None = None  # percent
    price_limit: Decimal | None = None
    catch_up: str = ""
    at_end: str = ""
    strategy_id: str = ""
    trade_plan_id: str = ""
    risk_category: RiskCategory = RiskCategory.NORMAL
    provider_quantity: Decimal | None = None
    provider_equity: Decimal | None = None  # in provider_currency
    provider_currency: str = ""
    external_id: str = ""
    note: str = ""
    refers_to: int | None = None
    refers_to_external_id: str = ""
    feed: str = field(default="", compare=False)  # the slug; not part of the content
    sent_at: datetime | None = field(default=None, compare=False)
    symbol_field: str = field(default="symbol", compare=False)  # the field name of the symbol

    @property
    def entry_price(self) -> Decimal | None:
        """The price that stop and targets are compared with; None: any market price."""
        return self.stop_price if self.order_type in AT_MARKET_FROM_STOP else self.open_price

    @property
    def trigger_price(self) -> Decimal | None:
        """The price at which a stop-limit order is triggered; None for other types."""
        return self.stop_price if self.order_type == OrderType.STOP_LIMIT else None

    @property
    def has_condition(self) -> bool:
        """Whether the entry waits for a time or another signal before it works."""
        return bool(self.not_before or self.after_signal or self.after_signal_external_id)

    def digest(self, *, with_time: bool = False) -> str:
        """Return a hash of the content; `1.10` and `1.1000` give the same one.

        with_time: include the sender's own time, for senders that give no id.
        """
        content = asdict(self)
        del content["feed"], content["symbol_field"]
        if not with_time:
            del content["sent_at"]
        content = {name: value for name, value in content.items() if value not in (None, "", ())}
        text = json.dumps(content, default=_as_text, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _as_text(value: object) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(value)  # add the type of a new field here


def level_errors(
    *,
    direction: str,
    entry: Decimal | None,
    sl: Decimal | None,
    targets: tuple[Target, ...],
    trigger: Decimal | None = None,
) -> Iterator[FieldError]:
    """Yield an error for each level on the wrong side. The database has the same constraints.

    trigger: a stop-limit order's stop price. The market is there when it is triggered, so the stop
    loss must lie behind it as well.
    """
    sign = 1 if direction == Direction.BUY else -1
    for price in (entry, trigger):
        if sl is not None and price is not None and (price - sl) * sign <= 0:
            side = "below" if sign > 0 else "above"
            detail = (
                f"For a {direction.lower()} the stop {plain(sl)} must lie {side} {plain(price)}."
            )
            yield FieldError(Code.STOP_WRONG_SIDE, "sl", detail)
            break
    for target in targets:
        for name, level in (("entry", entry), ("stop", sl)):
            if level is not None and (target.price - level) * sign <= 0:
                side = "above" if sign > 0 else "below"
                detail = (
                    f"For a {direction.lower()} the target {plain(target.price)} must lie {side} "
                    f"the {name} {plain(level)}."
                )
                yield FieldError(Code.TARGET_WRONG_SIDE, "targets", detail)
                break  # one error for a target is enough


def in_order_of_price(targets: tuple[Target, ...], direction: str) -> list[Target]:
    """Return targets in the order in which the price reaches them."""
    return sorted(targets, key=lambda target: target.price, reverse=direction == Direction.SELL)
