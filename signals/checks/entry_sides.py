"""Whether the new prices of a signal's entries lie on the right side of its stop and targets."""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from common.money import plain
from common.reason_codes import Code
from signals.effective_levels import stop_now, targets_now
from signals.field_error import FieldError
from signals.models import LIMITED, TRIGGERED, Direction, Signal


def new_price_errors(
    opened: Signal,
    *,
    open_price: Decimal | None,
    stop_price: Decimal | None,
    sl: Decimal | None,
    targets: Sequence[Decimal],
) -> list[FieldError]:
    """Return why a MODIFY cannot give entries these prices: a level would be passed when they fill.

    sl, targets: the MODIFY's own levels; without, those that the signal has now count.
    """
    if open_price is None and stop_price is None:
        return []
    limit = open_price if opened.order_type in LIMITED else None
    trigger = stop_price if opened.order_type in TRIGGERED else None
    stop = sl or stop_now(opened)
    targets = targets or targets_now(opened)
    filled_at = "open_price" if opened.order_type in LIMITED else "stop_price"
    found = list[FieldError]()
    for name, price in (("open_price", limit), ("stop_price", trigger)):
        if price is not None:
            reached = targets if name == filled_at else ()
            found += side_errors(name, price, opened.direction, stop, reached)
    return found


def side_errors(
    name: str,
    price: Decimal,
    direction: str,
    sl: Decimal | None,
    targets: Sequence[Decimal],
) -> Iterator[FieldError]:
    """Yield why an entry's price does not fit its stop and its targets. Pure.

    name: the price's field.
    """
    sign = 1 if direction == Direction.BUY else -1
    over, under = ("above", "below") if sign > 0 else ("below", "above")
    start = f"For a {direction.lower()} {name} {plain(price)} must lie"
    if sl is not None and (price - sl) * sign <= 0:
        yield FieldError(
            Code.STOP_WRONG_SIDE, name,
            f"{start} {over} the stop {plain(sl)}. Send another price, or move the stop with it.",
        )  # fmt: skip
    for target in targets:
        if (target - price) * sign <= 0:
            yield FieldError(
                Code.TARGET_WRONG_SIDE, name,
                f"{start} {under} the target {plain(target)}. Send another price, or move the"
                " targets with it.",
            )  # fmt: skip
            return  # the nearest one is enough
