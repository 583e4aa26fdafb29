"""Closing what a feed has open, after a confirmation."""

from collections import Counter
from typing import Any

from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.defaultfilters import pluralize
from django.urls import reverse

from analytics.orders.halt_texts import worth_text
from common.errors import InvalidInputError
from common.permissions import Right
from common.web.confirmation import ConfirmationPage, Consequence, add_form_error
from common.web.formatting import join_first
from console.pages.page_helpers import View, confirm, require_permission, run_action
from execution.monitoring.halt_actions import open_amounts
from positions.models import ExecutionPosition
from signals.forms.operators import CloseTradesForm
from signals.models import Approval, Feed, Origin
from signals.publishing.closing import ClosedTrades, TradeSelection, close_trades, open_trades


def close_feed_trades(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Show what the feed has open and ask which of it to close; then publish the CLOSE signals.

    Another selection than the one that was shown is shown first. A second click closes nothing.
    """
    require_permission(request, Right.PUBLISH)
    feed = get_object_or_404(Feed.objects.select_related("owner"), pk=pk)
    back = reverse("admin:signals_feed_changelist")
    is_answer = request.method == "POST"
    form = CloseTradesForm(request.POST if is_answer else {"fraction": "1"})
    opened, button = open_trades(feed, TradeSelection()), ""
    if form.is_valid():
        try:
            selected = open_trades(feed, form.selection())
        except InvalidInputError as error:
            add_form_error(form, error)
        else:
            if is_answer and form.is_confirmed():
                return run_action(request, lambda: _close(feed, form, request), back=back)
            opened = selected
            button = "Close them" if opened.signals else ""
            form.mark_as_seen()
    has_more = bool(opened.signals or is_answer)
    question = ConfirmationPage(
        f"Close trades of {feed.name}?", _consequences(feed, opened),
        button or ("Show what it closes" if has_more else ""), back, danger=bool(button),
        form=form if has_more else None, decline_label="Keep them",
    )  # fmt: skip
    return confirm(request, question)


def _consequences(feed: Feed, opened: ClosedTrades) -> list[Consequence]:
    if not opened.signals:
        return [Consequence("safe", "The feed has nothing open there that it has not closed.")]
    ids = [signal.pk for signal in opened.signals]
    held = ExecutionPosition.objects.open().filter(signal__in=ids)
    totals = held.aggregate(positions=Count("pk"), accounts=Count("connection", distinct=True))
    worth = worth_text(open_amounts(held))
    pairs = Counter(signal.currency_pair for signal in opened.signals)
    listed = ", ".join(f"{pair} ({number})" for pair, number in sorted(pairs.items()))
    approval = (
        "Publishes a CLOSE signal for each trade: entries that are not filled are cancelled, and "
        "positions are closed at market, ahead of all entries."
        if feed.is_approved
        else "The feed is not approved: the CLOSE signals wait until an operator approves each."
    )
    return [
        Consequence(
            "submitting",
            f"Open now: {_count(len(ids), 'trade')} with "
            f"{_count(totals['positions'], 'position')}{worth} on "
            f"{_count(totals['accounts'], 'account')}, in {listed}.",
        ),
        Consequence("validated", approval),
        Consequence("safe", "Later signals of the feed are not affected."),
    ]


def _close(feed: Feed, form: CloseTradesForm, request: HttpRequest) -> str:
    by: Any = request.user
    request_id = f"form:{form.cleaned_data['request_id']}"
    closed = close_trades(feed, form.selection(), origin=Origin.HAND, external_id=request_id, by=by)
    if not closed.signals:
        return f"{feed.name} has nothing open of that; nothing was published."
    waiting = sum(signal.approval != Approval.APPROVED for signal in closed.signals)
    numbers = join_first([signal.number for signal in closed.signals])
    if waiting:
        return f"{numbers} must be approved before they close anything."
    return f"The CLOSE of {_count(len(closed.signals), 'trade')} is published: {numbers}."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{pluralize(number)}"


URLS: tuple[tuple[str, str, View], ...] = (
    ("<int:pk>/close-trades/", "signals_feed_close_trades", close_feed_trades),
)
