"""The strict reader of signals in API bodies and files.

`read_signal` validates what the sender wrote; `ingest.save_draft` checks it against the feed and
stores it. Entry points read within `ingest.with_feed_errors`, so that a signal with errors is
checked against the feed, too, and its sender gets all errors at once.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from common.errors import InvalidInputError
from common.operational.current import settings_now
from common.reason_codes import Code
from common.stop_rules import UNIT_NAMES
from common.units import UNITS, Unit
from signals.models import (
    ATR_MINUTES,
    TRAIL_FIELDS,
    Action,
    AfterState,
    Direction,
    OrderType,
    RiskCategory,
    TimeInForce,
)
from signals.reading import strict_json
from signals.reading.draft import SignalDraft, Target
from signals.reading.fields import Fields
from signals.reading.validation import has_no_pips, validate
from signals.slicing import (
    MAX_DURATION_SECONDS,
    MAX_SLICES,
    MIN_SLICES,
    AtEnd,
    CatchUp,
    ExecutionStyle,
)
from signals.symbols import CURRENCY, read_symbol

ONE = Decimal(1)
MAX_TARGETS = 10
MAX_VALIDITY_SECONDS = 366 * 86_400
_MAX_ID = 2**63 - 1
_UNIT_NAMES = tuple(UNITS)
_TARGETS = ("tp", "take_profit", "targets")


def read_signal(data: bytes | Mapping[str, Any]) -> SignalDraft:
    """Return the signal that a JSON object describes.

    data: the body's bytes (at most 16 KiB), or an object that `strict_json.parse` returned.
    Raises InvalidInputError if it is not JSON or too large, and InvalidSignalError with all field
    errors.
    """
    fields = Fields(parsed_object(data))
    draft = read_fields(fields)
    fields.raise_errors(draft)
    return draft


def read_bracket(data: bytes | Mapping[str, Any]) -> SignalDraft:
    """Return the entry that a JSON object describes, which must have a stop loss and a target.

    Raises as `read_signal` does.
    """
    fields = Fields(parsed_object(data))
    draft = read_fields(fields)
    if draft.action != Action.OPEN:
        fields.add_error(Code.FIELD_INVALID, "action", "A bracket is an OPEN signal.")
    for names, text in ((("stop_loss", "sl"), "a stop loss"), (_TARGETS, "a target")):
        name = fields.first_used(*names)
        if not fields.has(name) and not fields.failed(name):
            fields.add_error(Code.FIELD_REQUIRED, name, f"A bracket has {text}.")
    fields.raise_errors(draft)
    return draft


def parsed_object(data: bytes | Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the JSON object of a body, or the object that `strict_json.parse` returned.

    Raises InvalidInputError if it is not JSON, not an object or too large.
    """
    parsed = strict_json.parse(data) if isinstance(data, bytes) else data
    if not isinstance(parsed, Mapping):
        raise InvalidInputError(Code.BODY_NOT_JSON, "A signal is a JSON object: { … }.")
    return parsed


def read_fields(fields: Fields) -> SignalDraft:
    """Return the signal of these fields; what is wrong with it is added to their errors."""
    if fields.raw("legs") is not None:
        detail = "An OCO pair has a call of its own: POST /api/v1/signals/oco/."
        fields.add_error(Code.FIELD_INVALID, "legs", detail)
    values = _instruction(fields) | _levels(fields) | _options(fields)
    _refuse_pips(fields, values)
    _refuse_trail_in_pips(fields, values["pair"])
    fields.refuse_unknown()
    draft = SignalDraft(**values)
    validate(draft, fields)
    return draft


def _instruction(fields: Fields) -> dict[str, Any]:
    """Read action, symbol, direction, order type and reference."""
    action = Action(fields.choice("action", Action, Action.OPEN))
    pair_field = fields.one_name("symbol", "currency_pair", "pair", "ticker")
    side_field = fields.one_name("direction", "side")
    direction = fields.choice(side_field, Direction)
    pair = ""
    if text := fields.text(pair_field, 60):
        try:
            pair = read_symbol(text)
        except InvalidInputError as error:
            fields.add_error(error.code, pair_field, error.detail)
    elif fields.has(pair_field) and not fields.failed(pair_field):
        fields.add_error(Code.SYMBOL_UNKNOWN, pair_field, "The symbol is empty.")
    if action == Action.OPEN:
        for name in (pair_field, side_field):
            if not fields.has(name):
                fields.add_error(Code.FIELD_REQUIRED, name, f"{name} is required to open a trade.")
    return {
        "action": action,
        "pair": pair,
        "symbol_field": pair_field,
        "direction": Direction(direction) if direction else None,
        "order_type": _order_type(fields, action),
        "refers_to": _reference(fields),
        "refers_to_external_id": fields.text("refers_to_external_id", 100),
    }


def _order_type(fields: Fields, action: Action) -> OrderType:
    """Read the type of an entry; without one it is the installation's default."""
    orders = settings_now().order_defaults
    default = orders.default_order_type if action == Action.OPEN else OrderType.MARKET
    order_type = OrderType(fields.choice("order_type", OrderType, OrderType(default)))
    if action == Action.OPEN and (code := orders.refusal_of(order_type)):
        fields.add_error(code, "order_type", code.sentence)
    return order_type


def _reference(fields: Fields) -> int | None:
    """Read `refers_to`, a signal's id. The sender's own id is in `refers_to_external_id`."""
    value = fields.raw("refers_to")
    if isinstance(value, str) and not (value.isascii() and value.strip("+-.").isdigit()):
        detail = (
            f"{value[:40]!r} is not a signal's id, which is a whole number. Send your own external "
            "id in refers_to_external_id."
        )
        fields.add_error(Code.FIELD_INVALID, "refers_to", detail)
        return None
    return fields.whole("refers_to", _MAX_ID)


def _levels(fields: Fields) -> dict[str, Any]:
    """Read the conditions and the prices of entry, stop and targets."""
    return {
        "open_price": fields.decimal(fields.one_name("open_price", "price")),
        "stop_price": fields.decimal("stop_price"),
        "close_at": fields.moment("close_at"),
        "close_after_seconds": fields.whole("close_after_seconds", MAX_VALIDITY_SECONDS),
        "not_before": fields.moment("not_before"),
        "after_signal": fields.whole("after_signal", _MAX_ID),
        "after_signal_external_id": fields.text("after_signal_external_id", 100),
        "after_state": fields.choice("after_state", AfterState),
        "close_when_signal": fields.whole("close_when_signal", _MAX_ID),
        "close_when_signal_external_id": fields.text("close_when_signal_external_id", 100),
        "close_when_state": fields.choice("close_when_state", AfterState),
        **{name: fields.decimal(name) for name in TRAIL_FIELDS},
        "trail_atr_minutes": _atr_minutes(fields),
        "activation_price": fields.decimal("activation_price"),
        "sl": fields.decimal(fields.one_name("sl", "stop_loss")),
        "targets": _targets(fields),
    }


def _atr_minutes(fields: Fields) -> int | None:
    """Read the length of the candles of a trailing stop's ATR."""
    name = "trail_atr_minutes"
    minutes = fields.whole(name, max(ATR_MINUTES))
    if minutes is not None and minutes not in ATR_MINUTES:
        known = ", ".join(map(str, ATR_MINUTES))
        fields.add_error(Code.FIELD_INVALID, name, f"{minutes} is not one of {known}.")
        return None
    return minutes


def _targets(fields: Fields) -> tuple[Target, ...]:
    """Read `targets`, or the shorthand for a single target."""
    name = fields.one_name("targets", "tp", "take_profit")
    if name != "targets":
        price = fields.decimal(name)
        return (Target(price, ONE),) if price is not None else ()
    targets = []
    for item in fields.objects("targets", MAX_TARGETS):
        for required in ("price", "fraction"):
            if not item.has(required):
                item.add_error(Code.FIELD_REQUIRED, required, f"A target needs its {required}.")
        price, fraction = item.decimal("price"), item.decimal("fraction")
        item.refuse_unknown()
        if price is not None and fraction is not None:
            targets.append(Target(price, fraction))
    total = sum(target.fraction for target in targets)
    if total > 1:
        fields.add_error(
            Code.TARGET_FRACTIONS, "targets", f"The fractions add up to {total}, above 1."
        )
    return tuple(targets)


def _refuse_pips(fields: Fields, values: Mapping[str, Any]) -> None:
    """Add an error for pips of a symbol without pips: only currencies and metals have them."""
    pair = values["pair"]
    if pair and has_no_pips(pair, values["stop_rule_unit"]):
        detail = f"{pair} has no pips: send stop_rule_unit BPS, TICKS, PERCENT, ATR or PRICE."
        fields.add_error(Code.FIELD_INVALID, "stop_rule_unit", detail)
    for limit in ("max_slippage", "max_spread") if pair else ():
        in_pips = f"{limit}_pips"
        if has_no_pips(pair, values[f"{limit}_unit"]) and not fields.failed(in_pips):
            name = in_pips if fields.has(in_pips) else f"{limit}_unit"
            detail = f"{pair} has no pips: send {limit} with {limit}_unit BPS, TICKS or PERCENT."
            fields.add_error(Code.FIELD_INVALID, name, detail)


def _refuse_trail_in_pips(fields: Fields, pair: str) -> None:
    """Add an error for a trailing stop in pips of a symbol without pips."""
    if fields.has("trail_pips") and pair and has_no_pips(pair, Unit.PIPS):
        detail = f"{pair} has no pips: send trail_distance, trail_percent or trail_atr."
        fields.add_error(Code.FIELD_INVALID, "trail_pips", detail)


def _slippage(fields: Fields) -> dict[str, Any]:
    """Read the slippage limit, in pips or in its own unit."""
    name = fields.one_name("max_slippage", "max_slippage_pips")
    in_pips = name == "max_slippage_pips"
    if in_pips and fields.has("max_slippage_unit"):
        detail = "max_slippage_pips is in pips; send max_slippage_unit only with max_slippage."
        fields.add_error(Code.FIELD_INVALID, "max_slippage_unit", detail)
    unit = fields.choice("max_slippage_unit", _UNIT_NAMES)
    return {
        "max_slippage_pips": fields.decimal(name, zero=True),
        "max_slippage_unit": Unit.PIPS.value if in_pips and fields.has(name) else unit,
    }


def _stop_rule(fields: Fields) -> dict[str, Any]:
    """Read the break-even and trailing rule. 0 switches off what an account's preset has."""
    return {
        "break_even_target": fields.whole("break_even_target", MAX_TARGETS, lowest=0),
        "break_even_profit": fields.decimal("break_even_profit", zero=True),
        "break_even_offset": fields.decimal("break_even_offset", zero=True),
        "trailing_distance": fields.decimal("trailing_distance", zero=True),
        "trailing_step": fields.decimal("trailing_step"),
        "trailing_activation": fields.decimal("trailing_activation", zero=True),
        "stop_rule_unit": fields.choice("stop_rule_unit", tuple(UNIT_NAMES)),
    }


def _style(fields: Fields) -> dict[str, Any]:
    """Read how the entry is spread over time."""
    return {
        "execution_style": fields.choice("execution_style", ExecutionStyle),
        "duration_seconds": fields.whole("duration_seconds", MAX_DURATION_SECONDS),
        "slice_count": fields.whole("slice_count", MAX_SLICES, lowest=MIN_SLICES),
        "slice_variation": fields.decimal("slice_variation", zero=True),
        "price_limit": fields.decimal("price_limit"),
        "catch_up": fields.choice("catch_up", CatchUp),
        "at_end": fields.choice("at_end", AtEnd),
    }


def _currency(fields: Fields) -> str:
    """Read the currency of the provider's equity."""
    currency = fields.text("provider_currency", 10).upper()
    if currency and not CURRENCY.fullmatch(currency):
        detail = f"{currency!r} is not the code of a currency such as USD."
        fields.add_error(Code.FIELD_INVALID, "provider_currency", detail)
        return ""
    return currency


def read_close_fraction(fields: Fields) -> Decimal:
    """Read the share that a CLOSE ends; all of it if it has none."""
    fraction = fields.decimal("close_fraction")
    if fraction is not None and fraction > 1:
        detail = "It is a share of what is open: 0 to 1."
        fields.add_error(Code.FIELD_INVALID, "close_fraction", detail)
    return ONE if fraction is None else fraction


def _options(fields: Fields) -> dict[str, Any]:
    """Read validity, slippage, ids, risk category and the other options."""
    risk = fields.choice("risk_category", RiskCategory, RiskCategory.NORMAL)
    tif = fields.choice("time_in_force", TimeInForce, TimeInForce.GTC)
    return {
        "close_fraction": read_close_fraction(fields),
        "time_in_force": TimeInForce(tif),
        "valid_until": fields.moment("valid_until"),
        "valid_for": fields.whole("valid_for", MAX_VALIDITY_SECONDS),
        **_slippage(fields),
        "max_spread": fields.decimal("max_spread", zero=True),
        "max_spread_unit": fields.choice("max_spread_unit", _UNIT_NAMES),
        **_stop_rule(fields),
        **_style(fields),
        "strategy_id": fields.text("strategy_id", 64),
        "trade_plan_id": fields.text("trade_plan_id", 64),
        "risk_category": RiskCategory(risk),
        "provider_quantity": fields.decimal("provider_quantity"),
        "provider_equity": fields.decimal("provider_equity"),
        "provider_currency": _currency(fields),
        "external_id": fields.text("external_id", 100),
        "note": fields.text("note", 500),
        "feed": fields.text("feed", 60),
        "sent_at": fields.moment(fields.one_name("time", "timenow")),
    }
