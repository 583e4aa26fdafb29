"""Check that the fields of a signal fit together. Pure."""

from common.reason_codes import Code
from signals.draft import SignalDraft, level_errors
from signals.fields import Fields
from signals.models import Action, OrderType

# A field without meaning for an action is rejected, because its sender expects an effect.
_ONLY_FOR = {
    "order_type": {Action.OPEN},
    "open_price": {Action.OPEN},
    "price": {Action.OPEN},
    "stop_price": {Action.OPEN},
    "time_in_force": {Action.OPEN},
    "max_slippage_pips": {Action.OPEN},
    "max_slippage": {Action.OPEN},
    "max_slippage_unit": {Action.OPEN},
    "risk_category": {Action.OPEN},
    "provider_quantity": {Action.OPEN},
    "provider_equity": {Action.OPEN},
    "sl": {Action.OPEN, Action.MODIFY},
    "stop_loss": {Action.OPEN, Action.MODIFY},
    "tp": {Action.OPEN, Action.MODIFY},
    "take_profit": {Action.OPEN, Action.MODIFY},
    "targets": {Action.OPEN, Action.MODIFY},
    "close_fraction": {Action.CLOSE},
    "refers_to": {Action.MODIFY, Action.CLOSE},
    "refers_to_external_id": {Action.MODIFY, Action.CLOSE},
}
_LEVELS = ("sl", "stop_loss", "tp", "take_profit", "targets")


def validate(draft: SignalDraft, fields: Fields) -> None:
    """Add errors to `fields` where the draft's fields contradict or need each other.

    Fields that could not be read already have an error; what depends on them is not checked.
    """
    if fields.failed("action"):
        return
    _belongs_to_action(draft, fields)
    _reference(draft, fields)
    if fields.has("valid_until") and fields.has("valid_for"):
        fields.add_error(
            Code.FIELD_INVALID, "valid_for", "Send valid_until or valid_for, not both."
        )
    if draft.action == Action.OPEN and not fields.failed("order_type"):
        _prices(draft, fields)
        _sides(draft, fields)


def unlimited_stop(name: str) -> str:
    """Return the error for a slippage limit of a stop order. name: the limit's field."""
    return (
        "No broker limits the price of a stop order once its price is reached. "
        f"Leave {name} out, or publish a market order at that moment."
    )


def _belongs_to_action(draft: SignalDraft, fields: Fields) -> None:
    for name, actions in _ONLY_FOR.items():
        if fields.has(name) and draft.action not in actions:
            known = " or ".join(sorted(actions))
            fields.add_error(Code.FIELD_INVALID, name, f"{name} is only for {known}.")
    if draft.action == Action.MODIFY and not any(fields.has(name) for name in _LEVELS):
        fields.add_error(Code.FIELD_REQUIRED, "sl", "MODIFY needs a new sl, tp or targets.")


def _reference(draft: SignalDraft, fields: Fields) -> None:
    used = [name for name in ("refers_to", "refers_to_external_id") if fields.has(name)]
    if draft.action == Action.OPEN:
        return
    if len(used) == 2:
        fields.add_error(Code.FIELD_INVALID, used[1], "Send only one of the signal's ids.")
    named = draft.refers_to is not None or draft.refers_to_external_id
    if not named and not any(fields.failed(name) for name in used):
        fields.add_error(Code.REFERENCE_REQUIRED, "refers_to")


def _prices(draft: SignalDraft, fields: Fields) -> None:
    """Check that each order type has the prices that it needs, and no others."""
    if draft.order_type == OrderType.LIMIT and not (
        fields.has("open_price") or fields.has("price")
    ):
        fields.add_error(Code.PRICE_REQUIRED, "open_price", "A limit order needs open_price.")
    if draft.order_type == OrderType.STOP:
        if not fields.has("stop_price"):
            fields.add_error(Code.PRICE_REQUIRED, "stop_price", "A stop order needs stop_price.")
        elif draft.open_price is not None and draft.open_price != draft.stop_price:
            detail = "A stop order becomes a market order at stop_price; leave open_price out."
            fields.add_error(Code.FIELD_INVALID, "open_price", detail)
        for name in ("max_slippage", "max_slippage_pips"):
            if fields.has(name):
                fields.add_error(Code.FIELD_INVALID, name, unlimited_stop(name))
    elif fields.has("stop_price"):
        detail = "Only a stop order has a stop_price; the stop loss is called sl."
        fields.add_error(Code.FIELD_INVALID, "stop_price", detail)


def _sides(draft: SignalDraft, fields: Fields) -> None:
    if draft.direction is None:
        return
    shorthand = fields.first_used("tp", "take_profit", "targets")
    for error in level_errors(
        direction=draft.direction,
        entry=draft.entry_price,
        sl=draft.sl,
        targets=draft.targets,
    ):
        renamed = shorthand if error.field == "targets" else fields.first_used("stop_loss", "sl")
        fields.add_error(error.code, renamed, error.detail)
