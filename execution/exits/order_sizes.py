"""How an exit above the broker's largest order is divided into orders. Pure.

Their legs are `tp-1`, `tp-1+2`, `tp-1+3`: the request's name, and the number of the order.
"""

from decimal import Decimal

from common.money import ceil_to_step, floor_to_step

MOST_ORDERS = 50  # of one exit: a maximum that needs more is an error of the broker's list


def order_sizes(
    quantity: Decimal,
    *,
    maximum: Decimal,
    minimum: Decimal,
    step: Decimal,
    is_rounded: bool = False,
) -> list[Decimal]:
    """Return the sizes of the orders that close a quantity, each no larger than the broker takes.

    All in base units; maximum, minimum and step are 0 where the broker lists none. A rest below the
    minimum is enlarged by what the order before it gives up. A rest below a step stays with that
    order if the claim rounds it down (is_rounded); else the broker decides about it alone. After
    MOST_ORDERS the last one has all that is left.

    >>> sizes = order_sizes(Decimal(90), maximum=Decimal(45), minimum=Decimal(20), step=Decimal(10))
    >>> [int(size) for size in sizes]
    [40, 30, 20]
    """
    largest = floor_to_step(maximum, step) if step > 0 else maximum
    if largest <= 0 or quantity <= maximum:
        return [quantity]
    full = min(int(quantity // largest), MOST_ORDERS - 1)
    sizes, rest = [largest] * full, quantity - full * largest
    if rest == 0:
        return sizes
    if rest < step:
        return [*sizes[:-1], largest + rest] if is_rounded else [*sizes, rest]
    missing = max(minimum - rest, Decimal(0))
    if step > 0:
        missing = ceil_to_step(missing, step)
    if 0 < missing <= largest - max(minimum, step):
        sizes[-1] -= missing
        rest += missing
    return [*sizes, rest]


def leg_of_order(leg: str, number: int) -> str:
    """Return the leg of the first, second, … order of one request."""
    return leg if number == 1 else f"{leg}+{number}"


def request_of_leg_sql(leg: str) -> str:
    """Return SQL: the leg of the first order of the same request. leg: an expression."""
    return f"split_part({leg}, '+', 1)"
