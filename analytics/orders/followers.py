"""What became of a feed's signals on all accounts, in counts, for its provider.

A provider sees how many accounts filled, and why others did not if the signal, the feed or the
market is the reason. What concerns an account itself (its money, its limits) is counted without a
reason, so that it reveals nothing about one follower. The provider's own accounts are counted like
all others; the portal's page of the signal has their reasons. Paper twins do not count. Of the
exits that a CLOSE has on an account one decides (`deciding_exits`).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import Count, Q, QuerySet

from analytics.orders.archived import archived_of
from analytics.orders.deciding_exits import deciding
from analytics.orders.reasons import stated_reason
from common.web.formatting import SHARES, STATES, known_code, number
from execution.models import Order
from signals.models import Action, Signal
from signals.publishing.preview import is_public_reason
from users.tenancy import for_all_tenants


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """How many accounts ended so, and why. code: '' for reasons of the accounts themselves."""

    share: str
    code: str
    sentence: str
    accounts: int


@dataclass(slots=True)
class FeedResult:
    """The accounts of one signal, by their entry of an OPEN or their exits of a CLOSE; a MODIFY has
    none. reasons: of those that did not fill."""

    shares: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SHARES, 0))
    reasons: list[ReasonCount] = field(default_factory=list)

    @property
    def accounts(self) -> int:
        """All accounts on which it has an order."""
        return sum(self.shares.values())

    @property
    def breakdown(self) -> str:
        """Its parts that are not zero: `8 filled, 1 denied`; empty without any."""
        parts = [f"{number(count)} {share}" for share, count in self.shares.items() if count]
        return ", ".join(parts)

    @property
    def is_settled(self) -> bool:
        """Whether it can no longer change on its own."""
        return not (self.shares["working"] or self.shares["unknown"])


def results_of(signals: Sequence[Signal]) -> dict[int, FeedResult]:
    """Return the result of each of these signals by its id, in two statements, or three if old.

    Reads all tenants' rows, and returns only counts: check the user's rights.
    """
    results = {signal.pk: FeedResult() for signal in signals}
    opens = [signal.pk for signal in signals if signal.action == Action.OPEN]
    closes = [signal for signal in signals if signal.action == Action.CLOSE]
    counts: dict[int, Counter[tuple[str, str]]] = {}
    with transaction.atomic(), for_all_tenants():
        found = [
            *(_grouped(_entries(opens)) if opens else ()),
            *(_archived(signals) if opens else ()),
            *(_grouped(deciding(_exits(closes))) if closes else ()),
        ]
    for signal_id, status, reason, count in found:
        share = STATES[status].share
        results[signal_id].shares[share] += count
        if share != "filled":
            shown = reason if is_public_reason(known_code(reason)) else ""
            counts.setdefault(signal_id, Counter())[share, shown] += count
    for signal_id, counter in counts.items():
        results[signal_id].reasons = _reasons(counter)
    return results


def _entries(opens: Sequence[int]) -> QuerySet[Order]:
    first = Q(leg="entry", leg__startswith="entry")  # index `one_entry`
    return Order.objects.filter(first, signal__in=opens, connection__twin_of=None)


def _exits(closes: Sequence[Signal]) -> QuerySet[Order]:
    """Return the exits of CLOSE signals, found by the positions that these close."""
    opened = [signal.refers_to_id for signal in closes]
    found = Order.objects.filter(signal__in=closes, position__signal__in=opened)
    return found.filter(connection__twin_of=None)


def _grouped(orders: QuerySet[Order]) -> Iterable[tuple[int, str, str, int]]:
    """Return how many accounts each signal, status and reason has."""
    grouped = orders.order_by().annotate(stated=stated_reason())
    by_reason = grouped.values_list("signal_id", "status", "stated")
    return by_reason.annotate(count=Count("connection", distinct=True))


def _archived(signals: Sequence[Signal]) -> Iterable[tuple[int, str, str, int]]:
    """Return the same of entries in the archive, of which none is a twin's."""
    grouped = archived_of(signals).order_by().values_list("signal_id", "status", "reason")
    return grouped.annotate(count=Count("connection", distinct=True))


def _reasons(counter: Counter[tuple[str, str]]) -> list[ReasonCount]:
    order = list(SHARES)
    ordered = sorted(counter.items(), key=lambda item: (order.index(item[0][0]), -item[1]))
    return [
        ReasonCount(share, code, _sentence(share, code), count)
        for (share, code), count in ordered
        if code or share in ("denied", "rejected", "skipped", "failed")
    ]


def _sentence(share: str, code: str) -> str:
    known = known_code(code)
    if known is not None:
        return known.sentence
    if share == "rejected":
        return "Their brokers rejected the order, for reasons of the accounts."
    return "For reasons of the accounts themselves."
