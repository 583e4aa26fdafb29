"""What became of an OCO pair on the accounts, in sentences: which leg fired where."""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from django.db.models import Max, Q

from common.web.formatting import join_first, number
from execution.models import Order, Status
from signals.models import Signal
from users.models import User

NAMED = 3  # accounts of one result that are named; of more, their number is stated


def pair_sentences(signal: Signal, user: User | None = None) -> list[str]:
    """Return what the OCO pair of a signal is and which leg fired; []: it is not of a pair.

    user: count only this user's accounts, and name a few of them.
    """
    if signal.oco_group is None:
        return []
    legs = Signal.objects.filter(oco_group=signal.oco_group).order_by("pk")
    numbers = {leg.pk: leg.number for leg in legs}
    pair = " and ".join(numbers.values())
    about = f"{pair} are an OCO pair: the first one that the market reaches cancels the other."
    if not signal.is_published:
        return [about]
    results = _results(signal.oco_group, user)
    fired = [
        f"{numbers[leg]} fired on {_accounts(results[leg], user)}."
        for leg in numbers
        if results.get(leg)
    ]
    waiting, ended = results.get(_WAITING, []), results.get(_ENDED, [])
    if waiting:
        fired.append(f"Both still wait on {_accounts(waiting, user)}.")
    if ended:
        fired.append(f"Neither fired on {_accounts(ended, user)}: both have ended.")
    return [about, *fired]


def cancelled_leg_text(order: Order) -> str:
    """Return what cancelling a leg of an OCO pair does to the other one, '' if nothing.

    While neither has fired, both are cancelled together.
    """
    other = order.other_leg
    if other is None or order.oco_fired or {order.status, other.status} != {Status.PENDING}:
        return ""
    return f"Cancels {other} with it: the other leg of its pair."


_WAITING, _ENDED = 0, -1  # instead of the id of the leg that fired


def _results(group: UUID, user: User | None) -> dict[int, list[str]]:
    """Return the names of accounts by the id of the leg that fired there."""
    orders = Order.objects.filter(oco_group=group)
    if user is not None:
        orders = orders.filter(connection__user=user)
    by_account = (
        orders.order_by("connection__name")
        .values_list("connection_id", "connection__name")
        .annotate(
            fired=Max("signal_id", filter=Q(oco_fired=True)),
            waits=Max("id", filter=Q(status=Status.PENDING)),
        )
    )
    results: defaultdict[int, list[str]] = defaultdict(list)
    for _, name, fired, waits in by_account:
        results[fired or (_WAITING if waits else _ENDED)].append(name)
    return results


def _accounts(names: Sequence[str], user: User | None) -> str:
    """Return the names of a user's own accounts, if they are few, else their number."""
    if user is not None and len(names) <= NAMED:
        return join_first(names)
    return f"{number(len(names))} account{'' if len(names) == 1 else 's'}"
