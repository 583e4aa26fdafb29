"""How an exit request above the broker's largest order is divided into orders. Pure.

Their legs are `tp-1`, `tp-1+2`, `tp-1+3`: the request's name, and the number of the order.
"""

from decimal import Decimal

MOST_ORDERS = 50  # of one request, and one of a rest: a maximum that needs more is a wrong list


def order_sizes(
    quantity: Decimal,
    *,
    maximum: Decimal,
    minimum: Decimal,
    step: Decimal,
    is_rounded: bool = False,
) -> list[Decimal]:
    """Return the sizes of the orders that close a quantity, each no larger than the broker takes.

    All in base units; maximum, minimum and step are 0 if the broker lists none. The sizes are as
    equal as whole steps allow, so that none is near the broker's minimum, which may be a value at
    the price of that moment. A rest below a step stays with the last order if the claim rounds it
    down (is_rounded); else it is an order of its own, about which the broker decides.

    >>> sizes = order_sizes(Decimal(90), maximum=Decimal(45), minimum=Decimal(20), step=Decimal(10))
    >>> [int(size) for size in sizes]
    [30, 30, 30]
    """
    if step <= 0 or maximum < step or quantity <= maximum:
        return [quantity]
    steps, of_largest = int(quantity // step), int(maximum // step)
    count = -(-steps // of_largest)
    each, larger = divmod(steps, min(count, MOST_ORDERS))
    if count > MOST_ORDERS or each * step < minimum:  # no way is right: as much as possible is
        each, larger, count = of_largest, 0, min(steps // of_largest, MOST_ORDERS - 1)
    sizes = [(each + (number < larger)) * step for number in range(count)]
    rest = quantity - sum(sizes, Decimal(0))
    if 0 < rest < step and is_rounded:
        sizes[-1] += rest
    elif rest > 0:
        sizes.append(rest)
    return sizes


def leg_of_order(leg: str, number: int) -> str:
    """Return the leg of the first, second, … order of one request."""
    return leg if number == 1 else f"{leg}+{number}"


def request_of_leg_sql(leg: str) -> str:
    """Return SQL: the leg of the first order of the same request. leg: an expression."""
    return f"split_part({leg}, '+', 1)"


def target_of_leg_sql(leg: str) -> str:
    """Return SQL of `target_of_leg`. leg: an expression."""
    return f"split_part({request_of_leg_sql(leg)}, '.', 1)"


def target_of_leg(leg: str) -> str:
    """Return the leg of the first exit of a target, also of a repeated or further one.

    >>> target_of_leg("tp-2.3+2"), target_of_leg("tp-2")
    ('tp-2', 'tp-2')
    """
    return leg.partition("+")[0].partition(".")[0]
