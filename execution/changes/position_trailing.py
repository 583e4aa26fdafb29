"""Let the stop of an open position trail, or end that: what its owner sets by hand."""

from django.db import transaction

from common.errors import ConflictError, InvalidInputError, raise_all
from common.reason_codes import Code
from common.stop_rules import describe_trailing, stop_rule_faults
from execution.changes.position_levels import lock_open_position, log_of_position
from positions import owner_rules
from positions.models import StopRule
from positions.owner_rules import Trailing
from signals.symbols import rule_unit_word
from users.models import User

_FIELDS = {
    "trailing_distance": "distance",
    "trailing_step": "step",
    "trailing_activation": "activation",
    "stop_rule_unit": "unit",
}


def set_trailing(position_id: int, trailing: Trailing, *, by: User | None = None) -> None:
    """Let the stop of an open position trail from now on, in place of the rule that it has.

    Its break-even rule stays. Prices from before do not count, and the stop never moves back.
    Raises InvalidInputError with a field; ConflictError if the position is closed.
    """
    raise_all(trailing_errors(trailing))
    with transaction.atomic():
        position = lock_open_position(position_id, by)
        owner_rules.set_trailing(position_id, trailing)
        text = trailing_text(position.pair, trailing)
        log_of_position(position, Code.TRAILING_SET, text, by)


def end_trailing(position_id: int, *, by: User | None = None) -> None:
    """Let the stop stay where it is. Raises ConflictError if it does not trail, or is closed."""
    with transaction.atomic():
        position = lock_open_position(position_id, by)
        rule = StopRule.objects.filter(position=position_id).first()
        if rule is None or not rule.trailing_distance:
            raise ConflictError(Code.TRAILING_NOT_SET)
        owner_rules.end_trailing(position_id)
        log_of_position(position, Code.TRAILING_ENDED, rule.trailing_text, by)


def trailing_text(pair: str, trailing: Trailing) -> str:
    """Return how a stop trails, as a part of a sentence."""
    return describe_trailing(
        trailing.distance,
        trailing.step,
        trailing.activation,
        rule_unit_word(pair, trailing.unit),
    )


def trailing_errors(trailing: Trailing) -> list[InvalidInputError]:
    """Return what is wrong with the values. Pure."""
    values = {
        "trailing_distance": trailing.distance,
        "trailing_step": trailing.step,
        "trailing_activation": trailing.activation,
        "stop_rule_unit": trailing.unit,
    }
    errors = [
        InvalidInputError(Code.FIELD_INVALID, detail, field=_FIELDS[name])
        for name, detail in stop_rule_faults(values)
    ]
    if trailing.distance <= 0:
        detail = "The distance is above 0. To end trailing, choose that instead."
        errors.insert(0, InvalidInputError(Code.NUMBER_NOT_POSITIVE, detail, field="distance"))
    return errors
