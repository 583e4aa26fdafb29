"""How an exit above the broker's largest order is divided. Pure."""

from decimal import Decimal

from common.money import ceil_to_step, floor_to_step

MOST_ORDERS = 50  # of one exit: a maximum that needs more is an error of the broker's list


def order_sizes(
    quantity: Decimal, *, maximum: Decimal, minimum: Decimal, step: Decimal
) -> list[Decimal]:
    """Return the sizes of the orders that close a quantity, each no larger than the broker takes.

    All in base units; maximum, minimum and step are 0 where the broker lists none. A rest below the
    minimum is enlarged by what the order before it gives up; what is no whole step stays with the
    last order. After MOST_ORDERS the last one has all that is left.

    >>> sizes = order_sizes(Decimal(90), maximum=Decimal(45), minimum=Decimal(20), step=Decimal(10))
    >>> [int(size) for size in sizes]
    [40, 30, 20]
    """
    largest = floor_to_step(maximum, step) if step > 0 else maximum
    if largest <= 0 or quantity <= maximum:
        return [quantity]
    full = min(int(quantity // largest), MOST_ORDERS - 1)
    sizes, rest = [largest] * full, quantity - full * largest
    if rest < step or rest == 0:  # it cannot be sent alone
        sizes[-1] += rest
        return sizes
    missing = ceil_to_step(max(minimum - rest, Decimal(0)), step) if step > 0 else minimum - rest
    if 0 < missing <= largest - max(minimum, step):
        sizes[-1] -= missing
        rest += missing
    return [*sizes, rest]
