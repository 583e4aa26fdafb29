"""Feeds: which account takes which, how large and in which direction."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from common.questions import Point, Question
from connections import services
from connections.models import Subscription
from portal.forms import SubscribeForm, TakeForm
from portal.pages import asked, done, for_tenants, me, page
from portal.selectors.accounts import accounts_of
from portal.selectors.feeds import offers, subscriptions_of, takeable
from portal.selectors.halts import halts_on


@for_tenants
def feeds(request: HttpRequest) -> HttpResponse:
    """Every feed that may be taken, with who takes it."""
    user = me(request)
    accounts = accounts_of(user)
    return page(request, "feeds.html", accounts=accounts, offers=offers(user, accounts))


@for_tenants
def subscribe(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Ask how, then let an account take the feed."""
    user = me(request)
    feed = get_object_or_404(takeable(user), slug=slug, archived_at=None)
    (offer,) = (o for o in offers(user, accounts_of(user)) if o.feed.pk == feed.pk)
    form = SubscribeForm(offer.free, request.POST or None)
    points = [
        Point("submitted", f"The account takes every signal of {feed.name} from the next "
              "publication on, sized by its own preset. Earlier signals are not made up for."),
        Point("denied", "Your limits hold: what would break one is denied, with the reason."),
    ]  # fmt: skip
    if halts_on(user):
        points.append(Point("paused", "While trading is paused its signals are listed as skipped."))
    question = Question(f"Take {feed.name}?", points, "Subscribe", reverse("portal:feeds"), False,
                        form, "Not now")  # fmt: skip

    def act() -> str:
        said = form.cleaned_data
        services.subscribe(
            connection_id=UUID(said["account"]), feed_id=feed.pk, by=user,
            multiplier=said["multiplier"], directions=said["directions"],
        )  # fmt: skip
        return f"{feed.name} is taken from its next signal on."

    return asked(request, question, act)


def _find(request: HttpRequest, pk: int) -> Subscription:
    found: Subscription = get_object_or_404(subscriptions_of(me(request)), pk=pk)
    return found


@for_tenants
def edit(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Size and directions."""
    user, subscription = me(request), _find(request, pk)
    before = {"multiplier": subscription.multiplier, "directions": subscription.directions}
    form = TakeForm(request.POST or None, initial=before)
    points = [Point("validated", "Counts from the next signal on. Open positions keep their size.")]
    title = f"How {subscription.connection.name} takes {subscription.feed.name}"
    question = Question(title, points, "Save", reverse("portal:feeds"), False, form)

    def act() -> str:
        changed = services.update_subscription(pk, by=user, **form.changes())
        return "Saved. It counts from the next signal on." if changed else "Nothing was different."

    return asked(request, question, act)


@for_tenants
def pause(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Skip its signals until it is resumed; one click takes it back."""
    user, subscription = me(request), _find(request, pk)

    def act() -> str:
        services.pause_subscription(pk, by=user)
        name = subscription.connection.name
        return f"{name} skips {subscription.feed.name} until you resume it. What is open stays."

    return done(request, act, back=reverse("portal:feeds"))


@for_tenants
def resume(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Take its signals again."""
    user, subscription = me(request), _find(request, pk)

    def act() -> str:
        services.resume_subscription(pk, by=user)
        return f"{subscription.connection.name} takes the next signal of {subscription.feed.name}."

    return done(request, act, back=reverse("portal:feeds"))


@for_tenants
def end(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Ask, then leave the feed."""
    user, subscription = me(request), _find(request, pk)
    name = subscription.connection.name
    points = [
        Point("cancelled", f"{name} takes no signal of {subscription.feed.name} that is published "
              "from now on."),
        Point("filled", "What is open stays open, and still hears when the provider closes it."),
        Point("validated", "You may subscribe again at any time."),
    ]  # fmt: skip
    question = Question(f"Leave {subscription.feed.name} with {name}?", points, "Unsubscribe",
                        reverse("portal:feeds"), keep="Stay subscribed")  # fmt: skip

    def act() -> str:
        won = services.unsubscribe(pk, by=user)
        return f"{name} has left {subscription.feed.name}." if won else "It was left already."

    return asked(request, question, act)
