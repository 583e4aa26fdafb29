"""The candidates of a signal: counts by state and reason, the filtered list, the order summary."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, log2
from typing import Any

from django.db.models import Case, Count, F, IntegerField, Q, QuerySet, Value, When
from django.http import QueryDict

from analytics.orders.archived import archived_of
from analytics.orders.deciding_exits import deciding
from analytics.orders.explanations import explain
from analytics.orders.figures import with_figures
from analytics.orders.reasons import reason_of, stated_reason, states, with_reason
from common.units import unit_label
from common.web.formatting import (
    SHARES,
    STATES,
    StateLabel,
    number,
    sentence,
    signed,
    statuses_of,
)
from connections.models import SubscriptionTwin
from console.charts import Histogram, Segment, histogram, segments
from console.queries.funnel import Progress
from execution.models import ArchivedOrder, Order, RouteState
from signals.models import Action, Signal

ENDED = ("cancelled", "expired")
FILTER_STATES = ("unknown", "failed", "rejected", "denied", "skipped", "working", "expired",
                 "cancelled",
         "filled")  # fmt: skip
FILTERS = ("state", "broker_type", "reason", "q")  # of the page's address
_RANK = Case(
    *(When(status=status, then=Value(shown.rank)) for status, shown in STATES.items()),
    default=Value(9),
    output_field=IntegerField(),
)
SORTS = {"slippage": "slippage_pips", "ack": "acknowledged_at"}


def orders_of(signal: Signal) -> QuerySet[Order]:
    """Return the orders of a publication: its entries, one for each candidate, or the exits of a
    CLOSE, of which a candidate may have several.

    Those of paper twins are left out, which are no candidates, and those that moved to another
    account of their route, where the candidate is counted; their accounts' pages have them.
    """
    # Not by a join: the planner expects that few accounts are no twins, and begins with those.
    candidates = Order.objects.exclude(connection__in=SubscriptionTwin.objects.values("connection"))
    candidates = candidates.exclude(route_state=RouteState.MOVED)
    if signal.action == Action.OPEN:
        # by the index `one_entry`, which has the second condition
        return candidates.filter(signal=signal, leg="entry", leg__startswith="entry")
    return candidates.filter(signal=signal, position__signal=signal.refers_to)


@dataclass(slots=True)
class Counts:
    """A signal's candidates by state and step, and their orders by state, reason and broker type.

    From one grouped query. A candidate has one order, but of a CLOSE it may have several: then one
    decides about it (`deciding_exits`).
    """

    candidates: int
    shares: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SHARES, 0))
    order_shares: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SHARES, 0))
    broker_types: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    meanings: dict[str, str] = field(default_factory=dict)
    progress: Counter[Progress] = field(default_factory=Counter)
    archived: int = 0

    @property
    def found(self) -> int:
        """How many candidates have an order."""
        return sum(self.shares.values())

    @property
    def orders(self) -> int:
        return sum(self.order_shares.values())

    @property
    def in_table(self) -> int:
        """The orders that the page can list."""
        return self.orders - self.archived

    @property
    def adds_up(self) -> bool:
        return self.found == self.candidates

    @property
    def breakdown(self) -> str:
        """The non-zero parts and their total: `842 + 21 + 63 = 926`."""
        parts = [number(count) for count in self.shares.values() if count]
        return f"{' + '.join(parts) or '0'} = {number(self.found)}"

    @property
    def bar(self) -> list[Segment]:
        return segments(self.shares)

    @property
    def is_settled(self) -> bool:
        """Whether its orders can no longer change on their own."""
        return not (self.shares["working"] or self.shares["unknown"])

    @property
    def refresh_seconds(self) -> int:
        """The refresh interval of the page in seconds; 0: it is settled."""
        on_the_way = {"PENDING", "SUBMITTING", "UNKNOWN", "CANCEL_REQUESTED"}
        moving = any(at.status in on_the_way for at in self.progress)
        return 0 if self.is_settled else 3 if moving else 15

    @property
    def bar_label(self) -> str:
        parts = ", ".join(f"{count:,} {share}" for share, count in self.shares.items() if count)
        return f"{self.found:,} candidate{'' if self.found == 1 else 's'}: {parts}"


def counts(signal: Signal) -> Counts:
    """Count a signal's candidates, and their orders by everything that the page filters by."""
    made = Counts(candidates=signal.candidate_count or 0)
    archived = list(_grouped(_in_archive(signal), "reason", Q()))
    made.archived = sum(row[-1] for row in archived)
    orders, decides = orders_of(signal), Q()
    if signal.action != Action.OPEN:
        decides = Q(pk__in=deciding(orders).values("pk"))
    grouped = _grouped(orders.annotate(stated=stated_reason()), "stated", decides)
    for status, reason, broker_type, sent, answered, found, count in [*grouped, *archived]:
        share = STATES[status].share
        made.shares[share] += found
        made.progress[Progress(status, sent=sent, answered=answered)] += found
        made.order_shares[share] += count
        made.broker_types[broker_type] += count
        if reason:
            made.reasons[reason] += count
            if share == "working" or reason not in made.meanings:
                made.meanings[reason] = sentence(reason, status)
    return made


def _grouped(
    orders: QuerySet[Any, Any], reason: str, decides: Q
) -> Iterable[tuple[str, str, str, bool, bool, int, int]]:
    """Return, by status, reason, broker type and step, how many orders decide about a candidate,
    and how many there are. Those in the archive are entries, of which none is a twin's."""
    by = orders.order_by().values_list("status", reason, "connection__type")
    found: Iterable[tuple[str, str, str, bool, bool, int, int]] = by.annotate(
        sent=Q(submitted_at__isnull=False),
        answered=Q(acknowledged_at__isnull=False),
        found=Count("pk", filter=decides or None),
        count=Count("pk"),
    )
    return found


def _in_archive(signal: Signal) -> QuerySet[ArchivedOrder]:
    return archived_of([signal]).exclude(route_state=RouteState.MOVED)


@dataclass(frozen=True, slots=True)
class AckTimes:
    """Time from publication to acknowledgement, in milliseconds."""

    count: int
    p50: float
    p90: float
    p99: float
    maximum: float
    chart: Histogram | None


def ack_times(answered_ms: Sequence[float]) -> AckTimes | None:
    """Return the times from order row to acknowledgement; None: no order is acknowledged yet."""
    times = sorted(max(ms, 0.1) for ms in answered_ms)
    if not times:
        return None
    p50, p90, p99 = (times[ceil(len(times) * part) - 1] for part in (0.5, 0.9, 0.99))
    buckets = Counter(max(floor(2 * log2(ms)), 0) for ms in times)
    return AckTimes(len(times), p50, p90, p99, times[-1], histogram(buckets, p50, p99))


@dataclass(frozen=True, slots=True)
class Candidate:
    """One order of the list, with its display values."""

    order: Order

    @property
    def state(self) -> StateLabel:
        return STATES[self.order.status]

    @property
    def code(self) -> str:
        return reason_of(self.order).code

    @property
    def row_css(self) -> str:
        return "is-unk" if self.order.status == "UNKNOWN" else ""

    @property
    def explanation(self) -> str:
        return explanation_of(self.order)

    @property
    def slippage(self) -> str:
        shown = signed(self.order.slippage_pips, 1)
        return f"{shown} {unit_label(self.order.slippage_unit)}" if shown else ""


def explanation_of(order: Order) -> str:
    """Return what happened to an order and why, to be shown beside its state."""
    explanation = explain(order)
    return f"{explanation.brief} {explanation.detail}".strip()


def filtered_orders(signal: Signal, filters: QueryDict) -> QuerySet[Order]:
    """Return the candidates that match the page's filters, with what their lines show."""
    return with_details(matching_orders(signal, filters))


def with_details(orders: QuerySet[Order]) -> QuerySet[Order]:
    """Add what the lines of orders show."""
    related = with_figures(orders).select_related("connection__user", "connection__admin", "signal")
    return related.defer("connection__sealed_credentials")


def details_of(one_page: QuerySet[Order]) -> list[Order]:
    """Return the orders of a page with what their lines show, in the same order.

    The page is chosen first: all that the lines show of all candidates would be sorted with them.
    """
    found = with_details(Order.objects.filter(pk__in=one_page.values("pk")))
    return list(found.order_by(*one_page.query.order_by))


def matching_orders(signal: Signal, filters: QueryDict) -> QuerySet[Order]:
    """Return the candidates that match the page's filters, those that need attention first."""
    found = _matching(orders_of(signal), filters)
    if reason := filters.get("reason"):
        found = with_reason(found, reason)
    if term := filters.get("q", "").strip():
        found = found.filter(_search(term) | states(term.upper()))
    sort = SORTS.get(filters.get("sort", ""))
    ordering: list[Any] = [_down(sort)] if sort else [_RANK]
    return found.order_by(*ordering, "pk")


def matching_archived(signal: Signal, filters: QueryDict) -> QuerySet[ArchivedOrder]:
    found = _matching(_in_archive(signal), filters)
    if reason := filters.get("reason"):
        found = found.filter(reason=reason)
    if term := filters.get("q", "").strip():
        found = found.filter(_search(term) | Q(reason=term.upper()))
    return found.select_related("connection__user", "connection__admin").order_by("pk")


def _matching(found: QuerySet[Any], filters: QueryDict) -> QuerySet[Any]:
    state = filters.get("state", "")
    shares = ENDED if state == "ended" else (state,) if state in SHARES else ()
    if shares:
        found = found.filter(status__in=[s for share in shares for s in statuses_of(share)])
    if broker_type := filters.get("broker_type"):
        found = found.filter(connection__type=broker_type)
    return found


def _down(column: str) -> Any:
    return F(column).desc(nulls_last=True)


def _search(term: str) -> Q:
    return (
        Q(connection__name__icontains=term)
        | Q(connection__account__icontains=term)
        | Q(connection__user__username__icontains=term)
        | Q(client_order_id=term)
        | Q(broker_order_id=term)
    )
