"""A provider's feeds: list, creation, overview, followers, and the request for approval."""

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse

from common.clocks import market_now
from common.errors import FillcastError, InvalidInputError
from common.web.confirmation import ConfirmationPage, Consequence, add_form_error
from portal.pages import confirm, current_user, page, run_action, tenants_only
from portal.publishing_forms import NewFeedForm, RequestForm
from portal.selectors.publishing import (
    approval_of,
    followers,
    my_feeds,
    own_feed,
    published_page,
    unended_trades,
    unpublished,
)
from portal.views.publishing.common import address, feed_page
from signals.feeds import approval_requests
from signals.feeds import services as feeds
from signals.feeds.terms import current_terms
from signals.models import Feed
from signals.publishing.preview import FEW
from signals.selectors import feeds_for
from users.models import User


@tenants_only
def publishing(request: HttpRequest) -> HttpResponse:
    """List the tenant's own feeds."""
    own = list(my_feeds(current_user(request)))
    rows = [(feed, approval_of(feed, is_requested=bool(feed.is_requested))) for feed in own]  # type: ignore[attr-defined]
    return page(request, "publishing/list.html", rows=rows)


@tenants_only
def new(request: HttpRequest) -> HttpResponse:
    """Create a feed."""
    user = current_user(request)
    form = NewFeedForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            feed, is_new = _create(user, form.cleaned_data)
        except FillcastError as error:
            add_form_error(form, error)
        else:
            text = f"{feed.name} was created." if is_new else f"{feed.name} exists already."
            messages.success(request, text)
            return HttpResponseRedirect(address("publishing_feed", feed))
    status = 422 if form.errors else 200
    return page(request, "publishing/new.html", form=form, status=status)


def _create(user: User, values: dict[str, Any]) -> tuple[Feed, bool]:
    """Create a feed. A second click finds the one that the first has made."""
    try:
        with transaction.atomic():
            is_private = not values["is_public"]
            return feeds.create_feed(owner=user, is_approved=is_private, **values), True
    except InvalidInputError as error:
        slug = values["slug"] or feeds.slug_of(values["name"])
        same = Feed.objects.filter(
            owner=user, slug=slug, name=values["name"], description=values["description"]
        ).first()
        if error.field == "slug" and same is not None and same.is_public == values["is_public"]:
            return same, False
        raise


@tenants_only
def feed(request: HttpRequest, *, slug: str) -> HttpResponse:
    """One feed: its approval, followers, last signals and terms."""
    found = own_feed(current_user(request), slug, with_archived=True)
    latest = published_page(found, None)
    return feed_page(
        request, "feed.html", found, "overview",
        request_row=approval_requests.latest_request(found),
        obstacle=approval_requests.why_not_requestable(found),
        followers=followers(found),
        latest=latest.signals[:5],
        waiting=unpublished(found).count(),
        terms=current_terms(found),
    )  # fmt: skip


@tenants_only
def feed_followers(request: HttpRequest, *, slug: str) -> HttpResponse:
    """The followers of a feed in numbers."""
    found = own_feed(current_user(request), slug, with_archived=True)
    return feed_page(
        request, "followers.html", found, "followers", followers=followers(found), few=FEW
    )


@tenants_only
def ask_approval(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Ask the operators to approve a feed."""
    user = current_user(request)
    found = own_feed(user, slug, with_archived=True)
    form = RequestForm(request.POST if request.method == "POST" else None)
    points = [
        Consequence("pending", "An operator reads the feed, its terms and what you write here."),
        Consequence(
            "validated",
            "Once it is approved, its signals are published without a further approval, to every "
            "account that follows it.",
        ),
        Consequence("denied", "A refusal has a sentence that says why; you can ask again."),
    ]
    question = ConfirmationPage(
        f"Ask for the approval of {found.name}?", points, "Ask for approval",
        address("publishing_feed", found), False, form, "Not now",
    )  # fmt: skip

    def act() -> str:
        _row, is_new = approval_requests.request_approval(
            found.pk, text=form.cleaned_data["text"], by=user
        )
        return "The operators are asked." if is_new else "The operators were asked already."

    return confirm(request, question, act)


@tenants_only
def withdraw(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Withdraw the request for approval."""
    user = current_user(request)
    found = own_feed(user, slug, with_archived=True)

    def act() -> str:
        if approval_requests.withdraw_request(found.pk, by=user):
            return "The request is withdrawn."
        return "No request was open."

    return run_action(request, act, back=address("publishing_feed", found))


@tenants_only
def archive(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Confirm, then archive a feed."""
    user = current_user(request)
    found = own_feed(user, slug, with_archived=True)
    counted = followers(found)
    points = [
        Consequence("cancelled", "It accepts and publishes no more signals, for good."),
        Consequence(
            "validated",
            f"Its {counted.accounts:,} following account{'' if counted.accounts == 1 else 's'} "
            "get nothing more of it. Open positions keep their stops and targets.",
        ),
        Consequence("filled", "Its signals, record and terms stay readable."),
        *(
            Consequence("attention", text)
            for text in feeds.withdrawn_by(found, {"archived_at": market_now()})
        ),
    ]
    if count := unended_trades(found):
        text = (
            f"{count:,} of its trades {'is' if count == 1 else 'are'} open or waiting. "
            "Afterwards the feed can neither close nor change any: first close what is to end."
        )
        points.append(Consequence("attention", text))
    if found.draft_count:  # type: ignore[attr-defined]
        text = f"Its {found.draft_count:,} drafts can no longer be published."  # type: ignore[attr-defined]
        points.append(Consequence("cancelled", text))
    question = ConfirmationPage(
        f"Archive {found.name}?", points, "Archive it", address("publishing_settings", found),
        decline_label="Keep it",
    )  # fmt: skip

    def act() -> str:
        won = feeds.archive_feed(found.pk, by=user)
        return f"{found.name} is archived." if won else f"{found.name} was archived already."

    return confirm(request, question, act)


@tenants_only
def terms(request: HttpRequest, *, slug: str) -> HttpResponse:
    """The terms of a feed that the tenant may see, with their history."""
    found = get_object_or_404(feeds_for(current_user(request)).distinct(), slug=slug)
    history = list(found.terms.order_by("-id")[:50])
    return page(
        request, "publishing/terms.html", feed=found, history=history, back=reverse("portal:feeds")
    )
