"""Change the levels of an open position: what a person requests."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from django.db import transaction

from brokers.price_rounding import round_level_price
from common.db.sql import run
from common.errors import ConflictError, InvalidInputError, raise_all
from common.money import plain, rounded_apart
from common.reason_codes import Code
from connections.models import Instrument
from execution.permissions import require_on_account
from positions.models import ExecutionPosition, Guardian
from positions.selectors import with_prices
from positions.stop_rules import price_distance
from signals.checks.price_guard import deviation_percent
from users.models import User


@dataclass(frozen=True, slots=True)
class PriceSteps:
    """What a broker lists of a symbol's prices: quote currency. stops_level, freeze_level: the
    least distances of a level from the price, and of one that may be changed; 0: none."""

    tick: Decimal
    stops_level: Decimal = Decimal(0)
    freeze_level: Decimal = Decimal(0)


def price_steps(position: ExecutionPosition) -> PriceSteps:
    """Return what the broker of a position lists of its symbol. One query.

    Of a symbol that it does not list a tenth of a pip counts as the tick.
    """
    book = position.connection.instrument_book
    return steps_of(position, Instrument.objects.filter(book=book, symbol=position.symbol).first())


def steps_of(position: ExecutionPosition, instrument: Instrument | None) -> PriceSteps:
    """Return the same of an instrument that was read already; None: it is not listed."""
    if instrument is None:
        return PriceSteps(position.pip / 10)
    tick = instrument.tick or Decimal(1).scaleb(-instrument.digits)
    return PriceSteps(tick, instrument.stops_level, instrument.freeze_level)


def modify_position(
    position_id: int,
    *,
    stop_loss: Decimal | None,
    take_profit: Decimal | None,
    by: User | None = None,
) -> None:
    """Change the levels of an open position; levels that the broker guards are then sent to it.

    Raises InvalidInputError if a level is on the wrong side of the other, or a new level is one
    that the price has reached (it would close the position at once), or that is nearer to it than
    its broker accepts; ConflictError if the position is closed. Enqueue pending actions on commit.
    """
    with transaction.atomic():
        position = lock_open_position(position_id, by)
        levels = {"stop_loss": stop_loss, "take_profit": take_profit}
        raise_all(level_errors(position, levels))
        _store_levels(position, by, **levels)


def _store_levels(
    position: ExecutionPosition, by: User | None, *, stop_loss: Decimal | None,
    take_profit: Decimal | None,
) -> None:  # fmt: skip
    moved = moves_text(position, stop_loss=stop_loss, take_profit=take_profit)
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
    log_of_position(position, Code.LEVELS_MOVED, moved, by)


def move_to_break_even(
    position_id: int, *, offset: Decimal = Decimal(0), unit: str = "", by: User | None = None
) -> Decimal:
    """Move the stop of an open position to its entry price; return the stop. The target stays.

    offset: how far beyond it, on the side of the profit, in `unit` ('': the usual one of the
    symbol). Raises as `modify_position` does, and ConflictError if the stop is there already, or
    better; InvalidInputError `offset` while the price is not beyond the level. Enqueue pending
    actions on commit.
    """
    with transaction.atomic():
        position = lock_open_position(position_id, by)
        level = break_even_level(position, price_steps(position), offset=offset, unit=unit)
        sign = position.broker_side.sign
        if position.sl is not None and (position.sl - level) * sign >= 0:
            detail = f"The stop is at {plain(position.sl)}; break-even would be {plain(level)}."
            raise ConflictError(Code.STOP_IS_BETTER, detail)
        price = current_price(position)
        if price is not None and (price - level) * sign <= 0:
            detail = (
                f"The price is {plain(price)} and the stop would be at {plain(level)}: it would"
                " close the position at once. Wait until the price is beyond it, or close it."
            )
            raise InvalidInputError(Code.BREAK_EVEN_NOT_REACHED, detail, field="offset")
        levels = {"stop_loss": level, "take_profit": position.tp}
        raise_all(_errors_at(position, levels, price))
        _store_levels(position, by, **levels)
        return level


def break_even_level(
    position: ExecutionPosition, steps: PriceSteps, *, offset: Decimal, unit: str
) -> Decimal:
    """Return the entry price with the offset, in whole ticks and never worse than asked. Pure."""
    side, entry = position.broker_side, position.entry_price
    beyond = price_distance(
        offset, unit, pair=position.pair, price=entry, pip=position.pip, tick=steps.tick
    )
    return round_level_price(entry + beyond * side.sign, steps.tick, side)


def lock_open_position(position_id: int, by: User | None) -> ExecutionPosition:
    """Lock a position and return it, with its account and that one's preset. One query.

    Raises ConflictError if it is closed, and NotAllowedError.
    """
    locked = ExecutionPosition.objects.select_for_update(no_key=True, of=("self",))
    related = locked.select_related("connection__preset")
    position = related.defer("connection__sealed_credentials").get(pk=position_id)
    require_on_account(position.connection, by)
    if not position.is_open:
        raise ConflictError(Code.STATE_CONFLICT, "The position is closed.")
    return position


def current_price(position: ExecutionPosition) -> Decimal | None:
    """Return the price at which a position could be closed now, if one is known. One query."""
    priced = with_prices(ExecutionPosition.objects.filter(pk=position.pk)).get()
    price: Decimal | None = getattr(priced, "current_price", None)
    return price


def moves_text(
    position: ExecutionPosition, *, stop_loss: Decimal | None, take_profit: Decimal | None
) -> str:
    """Return which levels change, from what to what; empty: none."""
    pairs = (("stop", position.sl, stop_loss), ("target", position.tp, take_profit))
    return ", ".join(
        f"{name} {plain(before) or 'none'} to {plain(after) or 'none'}"
        for name, before, after in pairs
        if before != after
    )


def log_of_position(position: ExecutionPosition, code: Code, detail: str, by: User | None) -> None:
    """Write the log line of what a person has done with a position."""
    who = f" by {by.get_username()}" if by else ""
    run(
        "INSERT INTO execution_executionlog (signal_id, connection_id, code, detail)"
        " VALUES (%s, %s, %s, %s)",
        (
            position.signal_id,
            position.connection_id,
            code.value,
            f"position {position.pk}{who}{f': {detail}' if detail else ''}",
        ),
    )


def level_errors(
    position: ExecutionPosition, levels: Mapping[str, Decimal | None]
) -> list[InvalidInputError]:
    """Return all faults of new levels: on the wrong side of each other, or of the latest price, if
    it is known, those that are nearer to it than the broker accepts, and those that are unlikely.

    levels: stop_loss and take_profit; None: none, and one that is missing stays.
    """
    return _errors_at(position, levels, current_price(position))


def _errors_at(
    position: ExecutionPosition, levels: Mapping[str, Decimal | None], price: Decimal | None
) -> list[InvalidInputError]:
    stop_loss = levels.get("stop_loss", position.sl)
    take_profit = levels.get("take_profit", position.tp)
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
    for check in (_near_levels, _unlikely_levels):
        wrong = {error.field for error in errors}
        found = check(position, price, stop_loss=stop_loss, take_profit=take_profit)
        errors += [error for error in found if error.field not in wrong]
    return errors


def _near_levels(
    position: ExecutionPosition, price: Decimal, **levels: Decimal | None
) -> list[InvalidInputError]:
    """Return the errors of new levels that the broker would hold, and that are too near to it."""
    old = {"stop_loss": position.sl, "take_profit": position.tp}
    guardians = {"stop_loss": position.sl_guardian, "take_profit": position.tp_guardian}
    new = {
        name: level
        for name, level in levels.items()
        if level is not None and level != old[name] and guardians[name] == Guardian.BROKER
    }
    if not new or position.levels_given_up:
        return []
    least = price_steps(position).stops_level
    return [
        InvalidInputError(
            Code.LEVEL_TOO_NEAR,
            f"{plain(level)} is {plain(abs(price - level))} from the price {plain(price)}; the"
            f" broker accepts {plain(least)} or more. Move it further away.",
            field=name,
        )
        for name, level in new.items()
        if abs(price - level) < least
    ]


def _unlikely_levels(
    position: ExecutionPosition, price: Decimal, **levels: Decimal | None
) -> list[InvalidInputError]:
    """Return the errors of new levels further from the price than the preset allows."""
    preset = position.connection.preset
    maximum = preset.limits.max_level_deviation_percent if preset is not None else None
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
