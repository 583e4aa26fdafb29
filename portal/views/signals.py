"""Signals as the tenant's accounts met them: the list, and one in words."""

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from common.clocks import market_now
from common.permissions import Right, may
from common.questions import Point, Question
from common.shown import STATES
from execution import services, tasks
from execution.models import Order, Status
from portal.pages import asked, for_tenants, me, page
from portal.selectors.signals import Did, Story, met, published_to, story
from signals.models import Approval, Signal
from signals.preview import Preview, preview, seen_by
from signals.selectors import managed_signals, signals_for
from users.models import User

A_PAGE, UNPUBLISHED = 30, 10
OFTEN_SECONDS, SELDOM_SECONDS = 3, 15  # how often a page follows


@for_tenants
def signals(request: HttpRequest) -> HttpResponse:
    """All that my accounts were candidates of."""
    user = me(request)
    one_page = Paginator(published_to(user), A_PAGE).get_page(request.GET.get("page"))
    found = met(user, list(one_page))
    moving = any(not one.is_settled for one in found)
    return page(
        request,
        "signals.html",
        one_page=one_page,
        met=found,
        unpublished=_unpublished(user)[:UNPUBLISHED],
        refresh_seconds=OFTEN_SECONDS if moving else SELDOM_SECONDS,
    )


@for_tenants
def signal(request: HttpRequest, *, pk: int) -> HttpResponse:
    """What each of my accounts did with it and why, and the way of one of its orders."""
    user = me(request)
    found = get_object_or_404(signals_for(user).select_related("feed", "refers_to"), pk=pk)
    told = story(user, found)
    return page(
        request,
        "signal.html",
        signal=found,
        story=told,
        preview=_preview(user, found),
        chosen=_chosen(told, request.GET.get("order", "")),
        open_ones=[held for held in told.held if held.free > 0],
        refresh_seconds=_refresh_seconds(found, told),
    )


def _unpublished(user: User) -> QuerySet[Signal]:
    """Signals of one's own feeds that may still be published, the newest first."""
    mine = managed_signals(user).filter(published_at=None, cancelled_at=None)
    return mine.exclude(approval=Approval.REJECTED).order_by("-pk")


def _preview(user: User, found: Signal) -> Preview | None:
    """What publishing a signal of one's own feed would do, as far as its owner may know."""
    if found.is_published or found.cancelled_at is not None or found.is_past(market_now()):
        return None
    if found.approval == Approval.REJECTED:
        return None
    if not may(user, Right.PUBLISH, owner_id=found.feed.owner_id):
        return None
    return seen_by(user, found, preview(found))


def _refresh_seconds(found: Signal, told: Story) -> int:
    """Often while orders are on their way, seldom while a position is open, then no more."""
    if (told.did and not told.met.is_settled) or any(
        STATES[one.order.status].share in {"working", "unknown"} for one in told.exits
    ):
        return OFTEN_SECONDS
    is_over = found.is_published and not any(held.position.is_open for held in told.held)
    return 0 if is_over else SELDOM_SECONDS


@for_tenants
def cancel(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Ask, then end what still works of an order."""
    user = me(request)
    mine = Order.objects.filter(connection__user=user).select_related("connection", "signal")
    order = get_object_or_404(mine.defer("connection__sealed_credentials"), pk=pk)
    points = [
        Point("cancelreq", "The broker is asked to take it back; what has not left us yet is never "
              "sent. A fill that comes first is a fill."),
        Point("filled", "What is filled stays open with its stop."),
    ]  # fmt: skip
    title = f"Cancel {order.side.lower()} {order.pair} at {order.connection.name}?"
    back = reverse("portal:signals")
    if order.signal_id:
        back = f"{reverse('portal:signal', args=[order.signal_id])}?order={pk}#timeline"
    question = Question(title, points, "Cancel the order", back, keep="Let it work")

    def act() -> str:
        if services.cancel_order(pk, by=user) == Status.CANCELLED:
            return "The order is cancelled; it was not sent."
        tasks.ring_wishes_on_commit()
        return "The broker is being asked to take the order back."

    return asked(request, question, act)


def _chosen(told: Story, order_id: str) -> Did | None:
    """The order whose timeline is shown: the asked one, else the first that was sent."""
    for one in (*told.did, *told.exits):
        if str(one.order.pk) == order_id:
            return one
    sent = [one for one in told.did if one.order.submitted_at]
    return next(iter(sent or told.did), None)
