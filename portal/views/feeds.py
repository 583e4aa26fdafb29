"""Feeds: which account takes which, how large and in which direction."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse

from common.confirmation import ConfirmationPage, Consequence
from connections import services
from connections.models import Subscription
from portal.forms import SubscribeForm, TakeForm
from portal.pages import confirm, current_user, page, run_action, tenants_only
from portal.selectors.accounts import accounts_of
from portal.selectors.feeds import feed_options, subscribable_feeds, subscriptions_of
from portal.selectors.halts import halts_affecting


@tenants_only
def feeds(request: HttpRequest) -> HttpResponse:
    """Every feed that may be taken, with who takes it."""
    user = current_user(request)
    accounts = accounts_of(user)
    return page(request, "feeds.html", accounts=accounts, options=feed_options(user, accounts))


@tenants_only
def subscribe(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Ask how, then let an account take the feed."""
    user = current_user(request)
    feed = get_object_or_404(subscribable_feeds(user), slug=slug, archived_at=None)
    (offer,) = (o for o in feed_options(user, accounts_of(user)) if o.feed.pk == feed.pk)
    form = SubscribeForm(offer.free, request.POST or None)
    points = [
        Consequence("submitted", f"The account takes every signal of {feed.name} from the next "
              "publication on, sized by its own preset. Earlier signals are not made up for."),
        Consequence("denied", "Your limits hold: what would break one is denied, with the reason."),
    ]  # fmt: skip
    if halts_affecting(user):
        points.append(
            Consequence("paused", "While trading is paused its signals are listed as skipped.")
        )
    question = ConfirmationPage(f"Take "
                                f"{feed.name}?", points, "Subscribe", reverse("portal:feeds"),
                                False,
                        form, "Not now")  # fmt: skip

    def act() -> str:
        said = form.cleaned_data
        services.subscribe(
            connection_id=UUID(said["account"]), feed_id=feed.pk, by=user,
            multiplier=said["multiplier"], directions=said["directions"],
        )  # fmt: skip
        return f"{feed.name} is taken from its next signal on."

    return confirm(request, question, act)


def _find(request: HttpRequest, pk: int) -> Subscription:
    found: Subscription = get_object_or_404(subscriptions_of(current_user(request)), pk=pk)
    return found


@tenants_only
def edit(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Size and directions."""
    user, subscription = current_user(request), _find(request, pk)
    before = {"multiplier": subscription.multiplier, "directions": subscription.directions}
    form = TakeForm(request.POST or None, initial=before)
    points = [
        Consequence("validated", "Counts from the next signal on. Open positions keep their size.")
    ]
    title = f"How {subscription.connection.name} takes {subscription.feed.name}"
    question = ConfirmationPage(title, points, "Save", reverse("portal:feeds"), False, form)

    def act() -> str:
        changed = services.update_subscription(pk, by=user, **form.changes())
        return "Saved. It counts from the next signal on." if changed else "Nothing was different."

    return confirm(request, question, act)


@tenants_only
def pause(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Skip its signals until it is resumed; one click takes it back."""
    user, subscription = current_user(request), _find(request, pk)

    def act() -> str:
        services.pause_subscription(pk, by=user)
        name = subscription.connection.name
        return f"{name} skips {subscription.feed.name} until you resume it. What is open stays."

    return run_action(request, act, back=reverse("portal:feeds"))


@tenants_only
def resume(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Take its signals again."""
    user, subscription = current_user(request), _find(request, pk)

    def act() -> str:
        services.resume_subscription(pk, by=user)
        return f"{subscription.connection.name} takes the next signal of {subscription.feed.name}."

    return run_action(request, act, back=reverse("portal:feeds"))


@tenants_only
def end(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Ask, then leave the feed."""
    user, subscription = current_user(request), _find(request, pk)
    name = subscription.connection.name
    points = [
        Consequence("cancelled", f"{name} takes no signal of {subscription.feed.name} that is "
                                 f"published "
              "from now on."),
        Consequence("filled", "What is open stays open, and still hears when the provider closes "
                              "it."),
        Consequence("validated", "You may subscribe again at any time."),
    ]  # fmt: skip
    question = ConfirmationPage(f"Leave {subscription.feed.name} with "
                                f"{name}?", points, "Unsubscribe",
                        reverse("portal:feeds"), keep="Stay subscribed")  # fmt: skip

    def act() -> str:
        won = services.unsubscribe(pk, by=user)
        return f"{name} has left {subscription.feed.name}." if won else "It was left already."

    return confirm(request, question, act)
