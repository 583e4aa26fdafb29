"""Change the levels of an open position: what a person requests."""

from collections.abc import Mapping
from decimal import Decimal

from django.db import transaction

from common.errors import ConflictError, InvalidInputError, raise_all
from common.money import plain, rounded_apart
from common.reason_codes import Code
from common.sql import run
from execution.permissions import require_on_accounts
from positions.models import ExecutionPosition
from positions.selectors import with_prices
from signals.price_guard import deviation_percent
from users.models import User


def modify_position(
    position_id: int,
    *,
    stop_loss: Decimal | None,
    take_profit: Decimal | None,
    by: User | None = None,
) -> None:
    """Change the levels of an open position; levels that the broker guards are then sent to it.

    Raises InvalidInputError if a level is on the wrong side of the other, or a new level is one
    that the price has reached (it would close the position at once); ConflictError if the position
    is closed. Enqueue pending actions on commit.
    """
    with transaction.atomic():
        position = ExecutionPosition.objects.select_for_update(no_key=True).get(pk=position_id)
        require_on_accounts([position.connection_id], by)
        if not position.is_open:
            raise ConflictError(Code.STATE_CONFLICT, "The position is closed.")
        raise_all(level_errors(position, {"stop_loss": stop_loss, "take_profit": take_profit}))
        position.sl, position.tp = stop_loss, take_profit
        position.sl_guardian = position.sl_guardian or ("ENGINE" if stop_loss else "")
        position.tp_guardian = position.tp_guardian or ("ENGINE" if take_profit else "")
        position.levels_given_up = False  # the broker may accept the new ones
        position.levels_dropped_at = None
        position.save(
            update_fields=[
                "sl", "tp", "sl_guardian", "tp_guardian", "levels_given_up", "levels_dropped_at",
            ]
        )  # fmt: skip
        run(
            "INSERT INTO execution_executionlog (signal_id, connection_id, code, detail)"
            " VALUES (%s, %s, %s, %s)",
            (
                position.signal_id,
                position.connection_id,
                Code.LEVELS_MOVED.value,
                f"position {position_id} {f'by {by.get_username()}' if by else ''}".strip(),
            ),
        )


def level_errors(
    position: ExecutionPosition, levels: Mapping[str, Decimal | None]
) -> list[InvalidInputError]:
    """Return all faults of new levels: on the wrong side of each other, or of the latest price, if
    it is known, and those that are unlikely.

    levels: stop_loss and take_profit; None: none, and one that is missing stays.
    """
    stop_loss = levels.get("stop_loss", position.sl)
    take_profit = levels.get("take_profit", position.tp)
    priced = with_prices(ExecutionPosition.objects.filter(pk=position.pk)).get()
    price: Decimal | None = getattr(priced, "current_price", None)
    sign = position.broker_side.sign
    errors = []
    if stop_loss and take_profit and (take_profit - stop_loss) * sign <= 0:
        errors.append(InvalidInputError(Code.STOP_WRONG_SIDE, field="stop_loss"))
    if price is None:
        return errors
    detail = f"The price is {plain(price)} and has passed the level."
    is_crossed = bool(errors)
    if stop_loss not in (None, position.sl) and (price - stop_loss) * sign <= 0 and not is_crossed:
        errors.append(InvalidInputError(Code.STOP_WRONG_SIDE, detail, field="stop_loss"))
    if take_profit not in (None, position.tp) and (take_profit - price) * sign <= 0:
        errors.append(InvalidInputError(Code.TARGET_WRONG_SIDE, detail, field="take_profit"))
    wrong = {error.field for error in errors}
    unlikely = _unlikely_levels(position, price, stop_loss=stop_loss, take_profit=take_profit)
    return [*errors, *(error for error in unlikely if error.field not in wrong)]


def _unlikely_levels(
    position: ExecutionPosition, price: Decimal, **levels: Decimal | None
) -> list[InvalidInputError]:
    """Return the errors of new levels further from the price than the preset allows."""
    preset = position.connection.preset
    maximum = preset.max_level_deviation_percent if preset is not None else None
    if maximum is None:
        return []
    old = {"stop_loss": position.sl, "take_profit": position.tp}
    return [
        InvalidInputError(
            Code.PRICE_UNREASONABLE,
            f"{plain(level)} is {plain(rounded_apart(deviation, maximum))} % from the price "
            f"{plain(price)}; the maximum is {plain(maximum)} %.",
            field=name,
        )
        for name, level in levels.items()
        if level not in (None, old[name])
        and (deviation := deviation_percent(level, price)) > maximum
    ]
