"""The one strict reader for alerts, API bodies and files, and the one way into the table.

`read_signal` judges what the sender wrote by itself; `receive` judges it against the feed, writes
it once, and knows it again when it is sent again.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from common.errors import InvalidInputError
from common.reason_codes import Code
from common.units import UNITS, Unit
from signals import strict_json
from signals.draft import SignalDraft, Target
from signals.fields import Fields
from signals.ingest import save_draft
from signals.models import Action, Direction, OrderType, RiskCategory, TimeInForce
from signals.symbols import read_symbol, slippage_unit
from signals.validation import validate

__all__ = ["SignalDraft", "read_signal", "save_draft"]

ONE = Decimal(1)
MOST_TARGETS = 10
LONGEST_VALIDITY = 366 * 86_400
_BIGGEST_ID = 2**63 - 1


def read_signal(data: bytes | Mapping[str, Any]) -> SignalDraft:
    """Return what a JSON object says, or raise with everything that is wrong with it.

    data: the body's bytes (at most 16 KiB), or an object that `strict_json.parse` returned.
    Raises InvalidInputError for what is not JSON or too large, and InvalidSignalError, whose
    `errors` name code and field of every fault.
    """
    parsed = strict_json.parse(data) if isinstance(data, bytes) else data
    if not isinstance(parsed, Mapping):
        raise InvalidInputError(Code.BODY_NOT_JSON, "A signal is a JSON object: { … }.")
    fields = Fields(parsed)
    values = _what(fields) | _levels(fields) | _rest(fields)
    _refuse_pips(fields, values)
    fields.refuse_unknown()
    draft = SignalDraft(**values)
    validate(draft, fields)
    fields.raise_faults()
    return draft


def _what(fields: Fields) -> dict[str, Any]:
    """Read what is to be done with which symbol in which direction."""
    action = Action(fields.choice("action", Action.values, Action.OPEN))
    pair_field = fields.one_name("symbol", "currency_pair", "pair", "ticker")
    side_field = fields.one_name("direction", "side")
    direction = fields.choice(side_field, Direction.values)
    pair = ""
    if text := fields.text(pair_field, 60):
        try:
            pair = read_symbol(text)
        except InvalidInputError as error:
            fields.fault(error.code, pair_field, error.detail)
    elif fields.has(pair_field) and not fields.failed(pair_field):
        fields.fault(Code.SYMBOL_UNKNOWN, pair_field, "The symbol is empty.")
    if action == Action.OPEN:
        for name in (pair_field, side_field):
            if not fields.has(name):
                fields.fault(Code.FIELD_REQUIRED, name, f"{name} is required to open a trade.")
    return {
        "action": action,
        "pair": pair,
        "symbol_field": pair_field,
        "direction": Direction(direction) if direction else None,
        "order_type": OrderType(fields.choice("order_type", OrderType.values, OrderType.MARKET)),
        "refers_to": _reference(fields),
        "refers_to_external_id": fields.text("refers_to_external_id", 100),
    }


def _reference(fields: Fields) -> int | None:
    """Read `refers_to`: a signal's number. An id of the sender's own has a field of its own."""
    value = fields.raw("refers_to")
    if isinstance(value, str) and not (value.isascii() and value.strip("+-.").isdigit()):
        detail = (
            f"{value[:40]!r} is no signal's id, which is a whole number. An external id of yours "
            "goes into refers_to_external_id."
        )
        fields.fault(Code.FIELD_INVALID, "refers_to", detail)
        return None
    return fields.whole("refers_to", _BIGGEST_ID)


def _levels(fields: Fields) -> dict[str, Any]:
    """Read prices: entry, stop, targets."""
    return {
        "open_price": fields.decimal(fields.one_name("open_price", "price")),
        "stop_price": fields.decimal("stop_price"),
        "sl": fields.decimal(fields.one_name("sl", "stop_loss")),
        "targets": _targets(fields),
    }


def _targets(fields: Fields) -> tuple[Target, ...]:
    """Read `targets`, or the shorthand for a single one."""
    name = fields.one_name("targets", "tp", "take_profit")
    if name != "targets":
        price = fields.decimal(name)
        return (Target(price, ONE),) if price is not None else ()
    found = []
    for item in fields.objects("targets", MOST_TARGETS):
        for required in ("price", "fraction"):
            if not item.has(required):
                item.fault(Code.FIELD_REQUIRED, required, f"A target needs its {required}.")
        price, fraction = item.decimal("price"), item.decimal("fraction")
        item.refuse_unknown()
        if price is not None and fraction is not None:
            found.append(Target(price, fraction))
    total = sum(target.fraction for target in found)
    if total > 1:
        fields.fault(Code.TARGET_FRACTIONS, "targets", f"The fractions add up to {total}, above 1.")
    return tuple(found)


def _refuse_pips(fields: Fields, values: Mapping[str, Any]) -> None:
    """Pips are of currencies and metals: of what has none they would be guessed."""
    pair = values["pair"]
    said_in_pips = values["max_slippage_unit"] == Unit.PIPS and not fields.failed(
        "max_slippage_pips"
    )
    if pair and said_in_pips and slippage_unit(pair) is not Unit.PIPS:
        name = "max_slippage_pips" if fields.has("max_slippage_pips") else "max_slippage_unit"
        said = (
            f"{pair} has no pips: send max_slippage with max_slippage_unit BPS, TICKS or PERCENT."
        )
        fields.fault(Code.FIELD_INVALID, name, said)


def _slippage(fields: Fields) -> dict[str, Any]:
    """Read how far from the expected price it may be filled: in pips, or in a unit of its own."""
    name = fields.one_name("max_slippage", "max_slippage_pips")
    in_pips = name == "max_slippage_pips"
    if in_pips and fields.has("max_slippage_unit"):
        said = "max_slippage_pips is in pips; a unit goes with max_slippage."
        fields.fault(Code.FIELD_INVALID, "max_slippage_unit", said)
    unit = fields.choice("max_slippage_unit", UNITS)
    return {
        "max_slippage_pips": fields.decimal(name, zero=True),
        "max_slippage_unit": Unit.PIPS.value if in_pips and fields.has(name) else unit,
    }


def _rest(fields: Fields) -> dict[str, Any]:
    """Read how long it is meant, for whom and under which names."""
    close_fraction = fields.decimal("close_fraction")
    if close_fraction is not None and close_fraction > 1:
        fields.fault(Code.FIELD_INVALID, "close_fraction", "It is a share of what is open: 0 to 1.")
    risk = fields.choice("risk_category", RiskCategory.values, RiskCategory.NORMAL)
    tif = fields.choice("time_in_force", TimeInForce.values, TimeInForce.GTC)
    return {
        "close_fraction": ONE if close_fraction is None else close_fraction,
        "time_in_force": TimeInForce(tif),
        "valid_until": fields.moment("valid_until"),
        "valid_for": fields.whole("valid_for", LONGEST_VALIDITY),
        **_slippage(fields),
        "strategy_id": fields.text("strategy_id", 64),
        "trade_plan_id": fields.text("trade_plan_id", 64),
        "risk_category": RiskCategory(risk),
        "provider_quantity": fields.decimal("provider_quantity"),
        "provider_equity": fields.decimal("provider_equity"),
        "external_id": fields.text("external_id", 100),
        "note": fields.text("note", 500),
        "feed": fields.text("feed", 60),
        "sent_at": fields.moment(fields.one_name("time", "timenow")),
    }
