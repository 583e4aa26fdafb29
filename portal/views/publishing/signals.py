"""The signals of a provider's feed: the list with results in counts, publish and cancel."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404

from analytics.orders.followers import FeedResult, results_of
from common.clocks import market_now
from common.errors import ConflictError
from common.web.confirmation import ConfirmationPage, Consequence, error_message
from portal.pages import confirm, current_user, tenants_only
from portal.selectors.publishing import (
    MOST_WAITING,
    own_feed,
    published_page,
    reach_button,
    reach_points,
    stage_of,
    unpublished,
)
from portal.views.publishing.common import address, feed_page
from portal.views.publishing.drafts import REFRESH_SECONDS
from signals import services
from signals.models import Action, Approval, Feed, Signal
from signals.publishing.preview import preview, require_useful, visible_to

FAST_SECONDS, SLOW_SECONDS = 3, 15


@tenants_only
def feed_signals(request: HttpRequest, *, slug: str) -> HttpResponse:
    """List the signals of a feed with their results in counts."""
    feed = own_feed(current_user(request), slug, with_archived=True)
    before = request.GET.get("before", "")
    is_id = before.isascii() and before.isdigit() and len(before) <= 18
    one_page = published_page(feed, int(before) if is_id else None)
    waiting = [] if is_id else unpublished(feed)[:MOST_WAITING]
    return feed_page(
        request, "signals.html", feed, "signals", one_page=one_page,
        waiting=[(one, stage_of(one)) for one in waiting], is_older=is_id,
        refresh_seconds=0 if is_id else SLOW_SECONDS if one_page.is_settled else FAST_SECONDS,
    )  # fmt: skip


@tenants_only
def feed_signal(request: HttpRequest, *, slug: str, pk: int) -> HttpResponse:
    """One signal of a feed: what became of it on all accounts, in counts."""
    feed = own_feed(current_user(request), slug, with_archived=True)
    signal = _find(feed, pk)
    result = results_of([signal])[signal.pk]
    is_live = signal.is_published and signal.action == Action.OPEN and not signal.cancelled_at
    return feed_page(
        request, "signal.html", feed, "signals", signal=signal, result=result,
        stage=stage_of(signal), is_trade=is_live and feed.archived_at is None,
        can_publish=_can_publish(signal),
        can_cancel=signal.cancelled_at is None
        and (not signal.is_published or signal.action == Action.OPEN),
        refresh_seconds=_refresh_seconds(signal, result),
    )  # fmt: skip


def _refresh_seconds(signal: Signal, result: FeedResult) -> int:
    """Return the refresh interval: one that waits for its publication may still change."""
    if not signal.is_published:
        is_final = signal.cancelled_at is not None or signal.approval == Approval.REJECTED
        return 0 if is_final else SLOW_SECONDS
    return 0 if result.is_settled else FAST_SECONDS


@tenants_only
def publish_signal(request: HttpRequest, *, slug: str, pk: int) -> HttpResponse:
    """Show what an approved signal would reach, then publish it."""
    user = current_user(request)
    feed = own_feed(user, slug, with_archived=True)
    signal = _find(feed, pk)
    back = address("publishing_signal", feed, pk=pk)
    if request.method != "POST" and not _can_publish(signal):
        messages.error(request, f"{signal.number} cannot be published now.")
        return HttpResponseRedirect(back)
    if request.method == "POST" or signal.is_published:
        question = ConfirmationPage("", [], "", back)
    else:
        expected = visible_to(user, signal, preview(signal))
        question = ConfirmationPage(
            f"Publish {signal.number}: {signal}?", reach_points(user, signal, expected),
            reach_button(signal, expected), back, decline_label="Not now",
            refresh_seconds=REFRESH_SECONDS, as_of=expected.as_of,
        )  # fmt: skip

    def act() -> str:
        if not signal.is_published:
            require_useful(signal)
        if services.publish(signal.pk, by=user):
            signal.refresh_from_db()
            count = signal.candidate_count or 0
            return f"{signal.number} is published to {count:,} account{'' if count == 1 else 's'}."
        return f"{signal.number} was published already; nothing was sent twice."

    return confirm(request, question, act)


@tenants_only
def cancel_signal(request: HttpRequest, *, slug: str, pk: int) -> HttpResponse:
    """Say what a cancellation ends, then cancel the signal."""
    user = current_user(request)
    feed = own_feed(user, slug, with_archived=True)
    signal = _find(feed, pk)
    back = address("publishing_signal", feed, pk=pk)
    try:
        services.require_not_follow_up(signal)
    except ConflictError as error:
        messages.error(request, error_message(error))
        return HttpResponseRedirect(back)
    points = [Consequence("cancelled", "It can no longer be published. Nothing was sent.")]
    if signal.is_published:
        shares = results_of([signal])[signal.pk].shares
        working, filled = shares["working"], shares["filled"]
        points = [
            Consequence(
                "cancelreq",
                f"Cancels the orders that still work: {working:,} of {sum(shares.values()):,} "
                "accounts. An order may still fill first.",
            ),
            Consequence(
                "filled",
                f"What has filled stays open with its stop, on {filled:,} "
                f"account{'' if filled == 1 else 's'}. To close it, publish a CLOSE.",
            ),
        ]
    if (other := signal.other_leg) is not None:
        text = f"Cancels {other.number} with it: the other leg of its pair."
        points.append(Consequence("cancelled", text))
    question = ConfirmationPage(
        f"Cancel {signal.number}: {signal}?", points, "Cancel the signal", back,
        decline_label="Keep it",
    )  # fmt: skip

    def act() -> str:
        won = services.cancel(signal.pk, by=user)
        text = "is cancelled" if won else "was cancelled already"
        return f"{signal.number} {text}."

    return confirm(request, question, act)


def _find(feed: Feed, pk: int) -> Signal:
    related = feed.signals.select_related("feed", "refers_to")
    found: Signal = get_object_or_404(related, pk=pk)
    return found


def _can_publish(signal: Signal) -> bool:
    """Whether the signal is approved and may still be published."""
    ended = signal.is_published or signal.cancelled_at is not None
    may = signal.approval == Approval.APPROVED and signal.feed.archived_at is None
    return may and not ended and not signal.is_past(market_now())
