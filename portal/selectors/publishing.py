"""A provider's own feeds, with what their pages show."""

from dataclasses import dataclass

from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.shortcuts import get_object_or_404

from analytics.orders.followers import FeedResult, results_of
from common.web.confirmation import Consequence
from common.web.formatting import number, quantity
from connections.selectors import Followers, followers_of
from portal.selectors.halts import Halt, halts_affecting
from signals.checks.price_guard import notice
from signals.models import Action, Approval, ApprovalRequest, Feed, RequestOutcome, Signal
from signals.open_signals import all_open_signals, closed_by_feed
from signals.publishing.preview import FEW, Outcome, Preview
from users.models import User
from users.tenancy import for_all_tenants

A_PAGE, MOST_WAITING, MOST_TRADES = 30, 50, 200
_VERBS = {
    Action.OPEN: ("gets an order", "get one order each"),
    Action.MODIFY: ("gets the new levels", "get the new levels"),
    Action.CLOSE: ("gets its exit", "get their exits"),
}
_LEFT_OUT = {
    Outcome.WAITING: "would wait",
    Outcome.SKIPPED: "left out",
    Outcome.NOT_LISTED: "left out",
    Outcome.DENIED: "left out",
}
_BADGES = {
    Outcome.WAITING: "pending",
    Outcome.SKIPPED: "skipped",
    Outcome.NOT_LISTED: "skipped",
    Outcome.DENIED: "denied",
}


@dataclass(frozen=True, slots=True)
class ListedSignal:
    """A signal of the feed's list with its result in counts."""

    signal: Signal
    result: FeedResult

    @property
    def stage(self) -> tuple[str, str]:
        """Its stage: the shape and the word."""
        return stage_of(self.signal)


@dataclass(frozen=True, slots=True)
class SignalPage:
    """One page of a feed's published signals. older: the id that the next page begins before."""

    signals: list[ListedSignal]
    older: int | None

    @property
    def is_settled(self) -> bool:
        """Whether none of them can change on its own."""
        return all(one.result.is_settled for one in self.signals)


def my_feeds(user: User) -> QuerySet[Feed]:
    """Return the feeds that a tenant owns, archived ones last."""
    requests = ApprovalRequest.objects.filter(feed=OuterRef("pk"), outcome=RequestOutcome.OPEN)
    waiting = Q(drafts__signal=None, drafts__discarded_at=None, drafts__isnull=False)
    return (
        Feed.objects.filter(owner=user)
        .annotate(is_requested=Exists(requests), draft_count=Count("drafts", filter=waiting))
        .order_by("archived_at", "name")
    )


def own_feed(user: User, slug: str, *, with_archived: bool = False) -> Feed:
    """Return one of a tenant's own feeds, with what `my_feeds` adds. Raises Http404."""
    mine = my_feeds(user) if with_archived else my_feeds(user).filter(archived_at=None)
    found: Feed = get_object_or_404(mine, slug=slug)
    return found


def approval_of(feed: Feed, *, is_requested: bool) -> tuple[str, str]:
    """Return a feed's approval for its owner: the shape and the word."""
    if feed.archived_at is not None:
        return "cancelled", "Archived"
    if feed.approved_by_owner:
        return "validated", "Private: your own accounts"
    if feed.is_approved:
        return "ok", "Approved"
    return ("pending", "Approval requested") if is_requested else ("pending", "Not approved")


def stage_of(signal: Signal) -> tuple[str, str]:
    """Return a signal's stage for its provider: the shape and the word."""
    if signal.cancelled_at:
        return "cancelled", "Cancelled"
    if signal.published_at:
        return "ok", "Published"
    if signal.approval == Approval.REJECTED:
        return "denied", "Rejected by an operator"
    if signal.approval == Approval.APPROVED:
        return "validated", "Ready to publish"
    return "pending", "Waits for approval"


def published_page(feed: Feed, before: int | None) -> SignalPage:
    """Return the published signals, newest first, that were published before another one."""
    found = feed.signals.published().select_related("feed", "refers_to")
    last = feed.signals.filter(pk=before, published_at__isnull=False).first() if before else None
    if last is not None:
        earlier = Q(published_at__lt=last.published_at)
        found = found.filter(earlier | Q(published_at=last.published_at, pk__lt=last.pk))
    signals = list(found.order_by("-published_at", "-pk")[: A_PAGE + 1])
    more, signals = len(signals) > A_PAGE, signals[:A_PAGE]
    results = results_of(signals)
    listed = [ListedSignal(signal, results[signal.pk]) for signal in signals]
    return SignalPage(listed, signals[-1].pk if more else None)


def unpublished(feed: Feed) -> QuerySet[Signal]:
    """Return the signals that wait for an operator or to be published, newest first."""
    waiting = feed.signals.filter(published_at=None, cancelled_at=None)
    return waiting.select_related("feed").order_by("-pk")


def open_trades_of(feed: Feed) -> QuerySet[Signal]:
    """Return the trades that a MODIFY or CLOSE may refer to, newest first: those that the feed has
    neither cancelled nor closed."""
    closes = Signal.objects.filter(
        refers_to=OuterRef("pk"), action=Action.CLOSE, close_fraction=1, published_at__isnull=False
    )
    opened = feed.signals.filter(action=Action.OPEN, published_at__isnull=False, cancelled_at=None)
    return opened.filter(~Exists(closes)).order_by("-published_at")


def unended_trades(feed: Feed) -> int:
    """Return how many trades of a feed are open or wait on any account; it cannot close them."""
    with for_all_tenants():  # followers are other tenants; only how many trades leaves this
        ids = {trade.id for trade in all_open_signals(feed.pk)}
        return len(ids - closed_by_feed(ids))


def reach_points(user: User, signal: Signal, preview: Preview) -> list[Consequence]:
    """Return what a publication would reach, in sentences: accounts, followers, who is left out."""
    feed = signal.feed
    points = [_approval_point(signal)] if not _may_publish(signal) else []
    points.append(_sent_point(signal, preview))
    if signal.action == Action.OPEN and preview.candidates > preview.sent:
        follow = "follows" if preview.candidates == 1 else "follow"
        text = f"{_accounts(preview.candidates)} of {_owners(preview.followers)} {follow} the feed."
        points.append(Consequence("validated", text))
    if preview.sent and signal.action != Action.MODIFY:
        points.append(_quantity_point(signal, preview))
    points += [
        Consequence(
            _BADGES[reason.outcome],
            f"{_accounts(reason.connections)} {_LEFT_OUT[reason.outcome]}: {reason.sentence}",
        )
        for reason in preview.reasons
    ]
    points += [_halt_point(halt) for halt in halts_affecting(user) if concerns(halt, signal)]
    if feed.approved_by_owner and signal.approved_by_id is None:
        text = "The feed is private: it reaches your own accounts only."
        points.append(Consequence("validated", text))
    if text := notice(signal):
        points.append(Consequence("attention", text))
    return points


def concerns(halt: Halt, signal: Signal) -> bool:
    """Whether a kill switch stops accounts from following this signal."""
    switch = halt.switch
    if switch.scope == "SYMBOL":
        return bool(switch.pair == signal.currency_pair)
    return switch.scope in ("ALL", "BROKER_TYPE", "USER") or switch.feed_id == signal.feed_id


def reach_button(signal: Signal, preview: Preview) -> str:
    """Return the label of the button that publishes."""
    if not _may_publish(signal):
        return "Send it for approval"
    if preview.sent:
        return f"Publish to {_accounts(preview.sent)}"
    if preview.waiting:
        return f"Publish: {_accounts(preview.waiting)} would wait"
    return "Publish, although nothing would be sent"


def followers(feed: Feed) -> Followers:
    """Return a feed's followers in numbers, for its owner."""
    return followers_of(feed.pk)


def _may_publish(signal: Signal) -> bool:
    return signal.feed.is_approved or signal.approved_by_id is not None


def _approval_point(signal: Signal) -> Consequence:
    return Consequence(
        "pending",
        f"{signal.feed.name} is not approved, so this signal is stored and waits for an operator. "
        "Nothing is sent now. What follows is what it would reach.",
    )


def _sent_point(signal: Signal, preview: Preview) -> Consequence:
    if not preview.candidates:
        if signal.action == Action.OPEN:
            text = "No account follows the feed now: no order is sent. The signal is in its record."
        else:
            text = "No account has anything open of this trade: nothing is changed."
        return Consequence("denied", text)
    if not preview.sent:
        return Consequence("denied", "Nothing would be sent now.")
    one, several = _VERBS[Action(signal.action)]
    owners = _owners(preview.sent_followers)
    verb = one if preview.sent == 1 else several
    return Consequence("submitting", f"{_accounts(preview.sent)} of {owners} {verb}.")


def _quantity_point(signal: Signal, preview: Preview) -> Consequence:
    verb = "is closed" if signal.action == Action.CLOSE else "is sent"
    if preview.quantity is None:
        text = f"How much {verb} is not shown: it is that of fewer than {FEW} others."
        return Consequence("validated", text)
    amount = quantity(preview.quantity, signal.currency_pair)
    return Consequence("validated", f"About {amount} {verb} on all accounts together.")


def _halt_point(halt: Halt) -> Consequence:
    if halt.is_total:
        rest = "Entries are skipped there and not sent later; exits wait until it is released."
    else:
        rest = "Entries are skipped there and not sent later; exits still work."
    waits = "An entry that waits already is denied if its time comes before the release."
    return Consequence("paused", f"{halt.title}. {rest} {waits}")


def _owners(count: int) -> str:
    return f"{number(count)} follower{_s(count)}"


def _accounts(count: int) -> str:
    return f"{number(count)} account{_s(count)}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"
