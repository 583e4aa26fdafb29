"""Write a signal as a draft, see what it would reach, then publish it: once, also by two clicks."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404

from common.errors import ConflictError, FillcastError, InvalidInputError
from common.web.confirmation import ConfirmationPage, Consequence, add_form_error, error_message
from portal.pages import confirm, current_user, tenants_only
from portal.selectors.publishing import (
    MOST_TRADES,
    open_trades_of,
    own_feed,
    reach_button,
    reach_points,
)
from portal.views.publishing.common import address, feed_page
from signals.field_error import FieldError
from signals.forms.acts import ActForm
from signals.models import Action, Approval, Feed, SavedDraft, Signal
from signals.publishing.drafts import (
    discard_draft,
    open_drafts,
    preview_draft,
    publish_draft,
    store_draft,
)
from signals.publishing.preview import visible_to
from signals.reading.errors import field_errors

REFRESH_SECONDS = 5
ABOUT = {
    Action.OPEN: "An entry. Followers’ own presets decide the size.",
    Action.MODIFY: "Changes the stop, the targets or the entry of a trade that is open.",
    Action.CLOSE: "Closes a trade, or a part of it, at market. Entries that have not filled end.",
}


@tenants_only
def drafts(request: HttpRequest, *, slug: str) -> HttpResponse:
    """List the drafts of a feed."""
    feed = own_feed(current_user(request), slug, with_archived=True)
    return feed_page(request, "drafts.html", feed, "drafts", drafts=open_drafts(feed)[:500])


@tenants_only
def choose(request: HttpRequest, *, slug: str) -> HttpResponse:
    """Choose what to publish: an entry, a change or a closing."""
    feed = own_feed(current_user(request), slug, with_archived=True)
    return feed_page(
        request, "choose.html", feed, "new",
        trades=open_trades_of(feed)[:20], about=[(one, ABOUT[one]) for one in Action],
    )  # fmt: skip


@tenants_only
def write(request: HttpRequest, *, slug: str, act: str) -> HttpResponse:
    """Write a new signal."""
    feed = own_feed(current_user(request), slug, with_archived=True)
    return _write(request, feed, Action(act.upper()), None)


@tenants_only
def edit(request: HttpRequest, *, slug: str, pk: int) -> HttpResponse:
    """Go on writing a draft."""
    feed = own_feed(current_user(request), slug, with_archived=True)
    draft = _find(feed, pk)
    if not draft.is_open:
        return _ended(request, draft)
    return _write(request, feed, Action(draft.action), draft)


def _write(
    request: HttpRequest, feed: Feed, action: Action, draft: SavedDraft | None
) -> HttpResponse:
    """Show the form of an action; store what was typed, then show what it would reach."""
    data = request.POST if request.method == "POST" else None
    chosen = request.GET.get("trade", "")
    trades = list(open_trades_of(feed)[:MOST_TRADES]) if action != Action.OPEN else []
    trades += _beside(feed, trades, chosen or str((draft and draft.body.get("refers_to")) or ""))
    form = ActForm(feed, action, trades, data, draft=draft, refers_to=chosen)
    if data is not None and (response := _answer(request, feed, action, form)) is not None:
        return response
    return feed_page(
        request, "write.html", feed, "drafts" if draft else "new",
        form=form, action=action, act=action.label.capitalize(), about=ABOUT[action],
        draft=draft, has_trades=bool(trades) or action == Action.OPEN,
        status=422 if form.errors else 200,
    )  # fmt: skip


def _answer(request: HttpRequest, feed: Feed, action: Action, form: ActForm) -> HttpResponse | None:
    """Store what was typed and go on; None: the form shows what is wrong, all of it."""
    only_saves = request.POST.get("then") == "save"
    has_faults = form.find_faults()
    if "key" not in form.cleaned_data or (has_faults and not only_saves):
        return None
    try:
        draft = store_draft(
            feed.pk, action=action, body=form.body(), key=form.cleaned_data["key"],
            version=form.cleaned_data.get("version"), by=current_user(request),
        )  # fmt: skip
    except FillcastError as error:
        add_form_error(form, error)
        return None
    if only_saves:
        messages.success(request, "The draft is saved. Nothing is sent until you publish it.")
        return HttpResponseRedirect(address("publishing_drafts", feed))
    return HttpResponseRedirect(address("publishing_draft_publish", feed, pk=draft.pk))


@tenants_only
def publish(request: HttpRequest, *, slug: str, pk: int) -> HttpResponse:
    """Show what a draft would reach, then publish it. A second click finds it published."""
    user = current_user(request)
    feed = own_feed(user, slug, with_archived=True)
    draft = _find(feed, pk)
    if request.method == "POST":
        return _publish(request, draft)
    if not draft.is_open:
        return _ended(request, draft)
    faults: tuple[FieldError, ...] = ()
    shown: dict[str, Any] = {}
    try:
        signal, expected = preview_draft(draft)
    except InvalidInputError as error:
        faults = field_errors(error)
    except ConflictError as error:
        faults = (FieldError(error.code, "", error.detail),)
    else:
        signal.feed = feed
        visible = visible_to(user, signal, expected)
        shown = {
            "signal": signal,
            "preview": visible,
            "counts_until": visible.as_of + timedelta(seconds=REFRESH_SECONDS),
            "points": reach_points(user, signal, visible),
            "button": reach_button(signal, visible),
        }
    return feed_page(
        request, "reach.html", feed, "drafts", draft=draft, faults=faults,
        refresh_seconds=REFRESH_SECONDS, **shown,
    )  # fmt: skip


def _publish(request: HttpRequest, draft: SavedDraft) -> HttpResponse:
    seen = request.POST.get("version", "")
    version = int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 9 else 0
    try:
        signal, is_first = publish_draft(draft.pk, version=version, by=current_user(request))
    except FillcastError as error:
        messages.error(request, error_message(error))
        return HttpResponseRedirect(address("publishing_draft_publish", draft.feed, pk=draft.pk))
    messages.success(request, _published_text(signal, is_first=is_first))
    return HttpResponseRedirect(address("publishing_signal", draft.feed, pk=signal.pk))


def _published_text(signal: Signal, *, is_first: bool) -> str:
    if not is_first:
        return f"{signal.number} was made of this draft already; nothing was sent twice."
    if signal.is_published:
        count = signal.candidate_count or 0
        return f"{signal.number} is published to {count:,} account{'' if count == 1 else 's'}."
    if signal.approval == Approval.PENDING:
        return f"{signal.number} waits for an operator’s approval. Nothing is sent before."
    return f"{signal.number} is stored."


@tenants_only
def discard(request: HttpRequest, *, slug: str, pk: int) -> HttpResponse:
    """Confirm, then discard a draft."""
    user = current_user(request)
    feed = own_feed(user, slug, with_archived=True)
    draft = _find(feed, pk)
    points = [Consequence("cancelled", "What you wrote is gone from the list. Nothing was sent.")]
    question = ConfirmationPage(
        f"Discard the draft {draft}?", points, "Discard it", address("publishing_drafts", feed),
        decline_label="Keep it",
    )  # fmt: skip

    def act() -> str:
        won = discard_draft(pk, by=user)
        return "The draft is discarded." if won else "It was discarded already."

    return confirm(request, question, act)


def _find(feed: Feed, pk: int) -> SavedDraft:
    found: SavedDraft = get_object_or_404(feed.drafts.select_related("feed", "signal"), pk=pk)
    return found


def _beside(feed: Feed, trades: list[Signal], chosen: str) -> list[Signal]:
    """Return the trade that the address or the draft names, if the list lacks it."""
    if not (chosen.isascii() and chosen.isdigit() and len(chosen) <= 18):
        return []
    if any(trade.pk == int(chosen) for trade in trades):
        return []
    opened = feed.signals.filter(action=Action.OPEN, published_at__isnull=False, pk=int(chosen))
    return list(opened)


def _ended(request: HttpRequest, draft: SavedDraft) -> HttpResponse:
    """Go where a draft that has ended went: to its signal, or to the list."""
    if draft.signal_id is None:
        messages.error(request, "This draft was discarded.")
        return HttpResponseRedirect(address("publishing_drafts", draft.feed))
    messages.success(request, f"This draft was published as S-{draft.signal_id}.")
    return HttpResponseRedirect(address("publishing_signal", draft.feed, pk=draft.signal_id))
