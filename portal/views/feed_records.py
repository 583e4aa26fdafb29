"""The record of a feed: for tenants, and without sign-in if its provider shows it to all."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from analytics.records.figures import FEWEST
from analytics.records.selectors import curve_of, record_of, trades_of
from common.permissions import Right, require
from common.web.formatting import signed
from portal.pages import current_user, page, run_action, tenants_only, with_security_headers
from portal.result_charts import ResultChart, day_chart
from signals.checks.late_publication import Mark
from signals.feeds.services import update_feed
from signals.models import Feed
from signals.records.selectors import (
    WITHHELD,
    links,
    record_feed,
    record_terms,
    sees_new,
    statement,
)
from users.models import User

ROWS = 25


@tenants_only
def record(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Show a feed's record to a tenant."""
    user = current_user(request)
    feed = _feed(slug, user)
    return page(request, "feed_record.html", **_context(request, feed, user))


@tenants_only
def proof(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Show the links of a feed's record, and how to verify them."""
    user = current_user(request)
    feed = _feed(slug, user)
    return page(request, "feed_proof.html", **_proof(request, feed, user))


def public_record(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Show the record of a public feed to visitors, if its provider wants that."""
    return _public(request, "feed_record_public.html", slug, is_proof=False)


def public_proof(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Show the links of such a record to visitors."""
    return _public(request, "feed_proof_public.html", slug, is_proof=True)


@tenants_only
def show_to_all(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Switch the page without sign-in on or off: for the feed's owner."""
    user = current_user(request)
    feed = _feed(slug, user)

    def act() -> str:
        require(user, Right.FEEDS, owner_id=feed.owner_id)  # others may not even lock its row
        is_shown = request.POST.get("shown") == "on"
        update_feed(feed.pk, by=user, record_is_public=is_shown)
        if is_shown:
            return "Everybody with the link can see this record."
        return "The record is shown to signed-in users only."

    return run_action(request, act, back=reverse("portal:feed_record", args=[slug]))


def _public(request: HttpRequest, template: str, slug: str, *, is_proof: bool) -> HttpResponse:
    feed = record_feed(slug, None)
    if feed is None:
        response = TemplateResponse(request, "404.html", status=404)
        return with_security_headers(response)
    context = (_proof if is_proof else _context)(request, feed, None)
    response = TemplateResponse(request, f"portal/{template}", context)
    return with_security_headers(response)


def _feed(slug: str, user: User) -> Feed:
    feed = record_feed(slug, user)
    if feed is None:
        raise Http404
    return feed


def _context(request: HttpRequest, feed: Feed, user: User | None) -> dict[str, Any]:
    with_new = sees_new(feed, user)
    before = _number(request, "before")
    trades = trades_of(feed, before=before, limit=ROWS, with_new=with_new)
    return {
        "feed": feed,
        "record": record_of(feed, with_new=with_new),
        "curve": _curve(feed, with_new=with_new),
        "terms": record_terms(feed),
        "statement": statement(feed, anchors=0),
        "trades": trades,
        "marks": dict(Mark.choices),
        "next_before": trades[-1].pk if len(trades) == ROWS else None,
        "is_first": before is None,
        "is_owner": user is not None and feed.owner_id == user.pk,
        "with_new": with_new,
        "withheld_hours": int(WITHHELD.total_seconds() // 3600),
        "fewest": FEWEST,
        "is_public_page": user is None,
    }


def _curve(feed: Feed, *, with_new: bool) -> ResultChart | None:
    """Draw the result day by day; None without a closed trade."""
    points = [(day, percent / 100) for day, percent in curve_of(feed, with_new=with_new)]
    total = signed(points[-1][1] * 100) if points else ""
    return day_chart(
        points,
        description=f"Result of closed trades by day, added up: {total} %.",
        is_fraction=True,
    )


def _proof(request: HttpRequest, feed: Feed, user: User | None) -> dict[str, Any]:
    with_new = sees_new(feed, user)
    after = _number(request, "after") or 0
    found = links(feed, after=after, limit=ROWS, with_new=with_new)
    return {
        "feed": feed,
        "statement": statement(feed),
        "links": found,
        "marks": dict(Mark.choices),
        "next_after": found[-1].number if len(found) == ROWS else None,
        "is_first": not after,
        "withheld_hours": int(WITHHELD.total_seconds() // 3600),
        "is_public_page": user is None,
    }


def _number(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 19 else None
