"""What a halt touches, and what it does besides stopping orders: cancel entries, close positions.

The row of the kill switch is the job. A trading process carries it out in steps, each in one
transaction; after a crash the next process goes on, since a step that is repeated finds nothing.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import (
    Aggregate,
    Case,
    Count,
    DecimalField,
    F,
    Q,
    QuerySet,
    Sum,
    Value,
    When,
)
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Coalesce, Now

from common.db.functions import ClockTimestamp
from common.reason_codes import Code
from connections.models import KillSwitch
from connections.services import HaltTarget
from execution.exits.legs import KILL_SWITCH
from execution.exits.orders import ExitRequest, open_exits
from execution.models import (
    CANCELS,
    HELD,
    MAY_MOVE,
    NOT_ENDED,
    PARTLY_KNOWN,
    Order,
    PendingAction,
    Status,
)
from execution.submission.route_writes import end_routes
from positions.models import ExecutionPosition

Scope = KillSwitch.Scope
NOT_CANCELLED = Q(pending_action=PendingAction.NONE)
STEP = 1000  # entries and positions in one transaction
# A row that another session has locked is tried again in the next round, for this time.
RETRY_SECONDS = 60
_ENTRY_WORTH = F("quantity") * F("entry_price") * F("conversion_rate")


@dataclass(frozen=True, slots=True)
class HaltImpact:
    """What is live in the scope of a halt, as far as the caller may see it.

    waiting: entries that were not sent, or failed unsent and may move to the next account of their
    route. Of these, held: that wait for a trigger or a condition; slices: later slices of entries
    that have begun. working: entries sent and not ended; exits: exits that have not ended. Amounts
    by account currency: of open positions at their entry price, of what the working entries may
    still fill, and of each kind of unsent ones, as far as they have a size. Most get theirs right
    before they are sent.
    """

    waiting: int
    held: int
    slices: int
    working: int
    exits: int
    positions: int
    open_amounts: dict[str, Decimal] = field(default_factory=dict)
    working_amounts: dict[str, Decimal] = field(default_factory=dict)
    queued_amounts: dict[str, Decimal] = field(default_factory=dict)
    held_amounts: dict[str, Decimal] = field(default_factory=dict)
    slice_amounts: dict[str, Decimal] = field(default_factory=dict)

    @property
    def queued(self) -> int:
        """Unsent entries that are sent automatically when it is their turn."""
        return self.waiting - self.held - self.slices


def halt_impact(target: HaltTarget | KillSwitch, accounts: Q | None = None) -> HaltImpact:
    """Return how many orders and positions, and how much money, a halt would touch now.

    accounts: count only the orders and positions that meet this condition as well. Two queries.
    """
    accounts = accounts or Q()
    live = _orders(target).filter(NOT_ENDED | MAY_MOVE, accounts)
    entries, unsent = Q(position=None), Q(status=Status.PENDING) | MAY_MOVE
    is_slice = Q(leg__startswith="entry-")
    waiting, working = entries & unsent, entries & ~unsent
    held, slices = waiting & HELD & ~is_slice, waiting & is_slice
    unfilled = (F("quantity") - F("filled_quantity")) * F("expected_price") * F("conversion_rate")
    orders = _by_currency(
        live,
        waiting=Count("pk", filter=waiting),
        held=Count("pk", filter=held),
        slices=Count("pk", filter=slices),
        working=Count("pk", filter=working),
        exits=Count("pk", filter=~entries),
        working_amount=_amount(unfilled, working),
        queued_amount=_amount(unfilled, waiting & ~HELD & ~is_slice),
        held_amount=_amount(unfilled, held),
        slice_amount=_amount(unfilled, slices),
    )
    positions = _by_currency(
        _positions(target).filter(accounts), count=Count("pk"), amount=_amount(_ENTRY_WORTH)
    )
    return HaltImpact(
        waiting=_total(orders, "waiting"),
        held=_total(orders, "held"),
        slices=_total(orders, "slices"),
        working=_total(orders, "working"),
        exits=_total(orders, "exits"),
        positions=_total(positions, "count"),
        open_amounts=_amounts(positions, "amount"),
        working_amounts=_amounts(orders, "working_amount"),
        queued_amounts=_amounts(orders, "queued_amount"),
        held_amounts=_amounts(orders, "held_amount"),
        slice_amounts=_amounts(orders, "slice_amount"),
    )


def open_amounts(positions: QuerySet[ExecutionPosition]) -> dict[str, Decimal]:
    """Return what positions are worth at their entry prices, by account currency."""
    return _amounts(_by_currency(positions, amount=_amount(_ENTRY_WORTH)), "amount")


def _amount(worth: CombinedExpression, condition: Q | None = None) -> Sum:
    return Sum(worth, filter=condition, output_field=DecimalField(max_digits=38, decimal_places=2))


def _by_currency(
    found: QuerySet[Order] | QuerySet[ExecutionPosition], **figures: Aggregate
) -> list[dict[str, Any]]:
    """Return these figures for each account currency, in the order of its code; '': not known."""
    by_currency = found.order_by().values(
        currency=Coalesce("connection__snapshot__currency", Value(""))
    )
    return list(by_currency.annotate(**figures).order_by("currency"))


def _total(by_currency: list[dict[str, Any]], name: str) -> int:
    return sum(row[name] for row in by_currency)


def _amounts(by_currency: list[dict[str, Any]], name: str) -> dict[str, Decimal]:
    """Return a sum for each account currency, without those where it is 0."""
    return {row["currency"]: row[name] for row in by_currency if row[name]}


def _orders(target: HaltTarget | KillSwitch) -> QuerySet[Order]:
    return Order.objects.filter(scope_condition(target))


def _positions(target: HaltTarget | KillSwitch) -> QuerySet[ExecutionPosition]:
    found = ExecutionPosition.objects.open().filter(signal__gt=0)  # `position_open_by_signal`
    return found.filter(scope_condition(target))


def scope_condition(target: HaltTarget | KillSwitch) -> Q:
    """Return the condition of the orders and positions in a scope, of a halt for example."""
    return {
        Scope.ALL: Q(),
        Scope.FEED: Q(signal__feed_id=target.feed_id),
        Scope.USER: Q(connection__user_id=target.user_id) | Q(connection__admin_id=target.user_id),
        Scope.CONNECTION: Q(connection_id=target.connection_id),
        Scope.BROKER_TYPE: Q(connection__type=target.broker_type),
        Scope.SYMBOL: Q(pair=target.pair) | Q(signal__currency_pair=target.pair),
    }[Scope(target.scope)]


# ---- cancel and flatten -----------------------------------------------------------------------
def carry_out_halts() -> list[int]:
    """Do the next step of each halt that cancels or closes; return ids of exits to enqueue."""
    with transaction.atomic():
        switches = (
            KillSwitch.objects.filter(
                Q(cancel_entries=True) | Q(flatten=True), released_at=None, carried_out_at=None
            )
            .order_by("pk")
            .select_for_update(skip_locked=True, no_key=True)
        )
        return [order_id for switch in switches for order_id in _carry_out(switch)]


def _carry_out(switch: KillSwitch) -> list[int]:
    exits = _close_positions(switch) if switch.flatten else []
    if switch.cancel_entries:
        _cancel_entries(switch)
    entries = live_entries(switch, closes=switch.flatten)
    is_left = (switch.cancel_entries and entries.exists()) or (
        switch.flatten and closable_positions(switch).exists()
    )
    is_recent = Q(set_at__gt=Now() - timedelta(seconds=RETRY_SECONDS))
    if not is_left or (
        len(exits) < STEP and not KillSwitch.objects.filter(is_recent, pk=switch.pk).exists()
    ):
        KillSwitch.objects.filter(pk=switch.pk).update(carried_out_at=ClockTimestamp())
    return exits


def live_entries(target: HaltTarget | KillSwitch, *, closes: bool = False) -> QuerySet[Order]:
    """Return the entries that have not ended and of which no cancel is requested; never exits.

    Those that have failed count as long as they may move to the next account of their route.

    closes: also those that are being cancelled, but what they fill before stays open, and those
    that have ended and are still looked up.
    """
    if not closes:
        return _orders(target).filter(NOT_CANCELLED & NOT_ENDED | MAY_MOVE, position=None)
    cancels = Q(pending_action__in=CANCELS)
    untouched = NOT_CANCELLED | cancels & ~Q(status=Status.PENDING)  # an unsent one is never sent
    return _orders(target).filter(untouched & (NOT_ENDED | PARTLY_KNOWN) | MAY_MOVE, position=None)


def count_live_entries(target: HaltTarget | KillSwitch, accounts: Q) -> tuple[int, int]:
    """Return how many `live_entries` there are without and with `closes`, at one moment.

    accounts: count only those that meet this condition as well.
    """
    counts = (
        live_entries(target, closes=True)
        .filter(accounts)
        .aggregate(
            live=Count("pk", filter=NOT_CANCELLED & NOT_ENDED | MAY_MOVE), reached=Count("pk")
        )
    )
    return counts["live"], counts["reached"]


def closable_positions(target: HaltTarget | KillSwitch) -> QuerySet[ExecutionPosition]:
    """Return the open positions that exits do not close completely already."""
    return _positions(target).filter(quantity__gt=F("reserved"))


def _cancel_entries(switch: KillSwitch) -> None:
    """Request that live entries are cancelled; with `flatten` also that what fills is closed.

    An order that is being claimed is locked: the next round finds it sent. One that is being
    cancelled already keeps the time of its next request: a call may be under way.
    """
    found = (
        live_entries(switch, closes=switch.flatten)
        .order_by("pk")
        .select_for_update(skip_locked=True, no_key=True, of=("self",))
    )
    ids = list(found.values_list("pk", flat=True)[:STEP])
    unsent = When(status=Status.PENDING, then=Value(PendingAction.CANCEL))
    sent = PendingAction.CLOSE if switch.flatten else PendingAction.CANCEL
    requested = When(~Q(pending_action="") & Q(due_at__isnull=False), then=F("due_at"))
    end_routes(ids, detail=f"kill switch {switch.pk}")
    Order.objects.filter(NOT_ENDED | PARTLY_KNOWN, pk__in=ids).update(
        pending_action=Case(unsent, default=Value(sent)),
        due_at=Case(requested, default=ClockTimestamp()),
    )


def _close_positions(switch: KillSwitch) -> list[int]:
    """Write exits for what is open and not being closed; return their ids."""
    ids = closable_positions(switch).order_by("pk").values_list("pk", flat=True)[:STEP]
    requests = [
        ExitRequest(
            position_id, KILL_SWITCH, code=Code.FLATTENED, detail=f"kill switch {switch.pk}"
        )
        for position_id in ids
    ]
    return [written.order_id for written in open_exits(requests, skip_locked=True)]
