"""A signal's page: what each candidate did and why; publish and cancel after a confirmation."""

import csv
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone

from analytics.orders.archived import note_of
from analytics.orders.oco_pairs import pair_sentences
from common.clocks import market_now
from common.errors import ConflictError
from common.money import plain
from common.permissions import Right
from common.web.confirmation import ConfirmationPage, Consequence, error_message
from common.web.csv_text import inert
from common.web.formatting import milliseconds, number
from connections.models import ExecutionConnection
from console.pages.page_helpers import View, can, confirm, page, require_permission, run_action
from console.queries import banners, candidates, reach_preview
from console.queries.funnel import funnel
from execution.models import ArchivedOrder
from execution.signal_stages import stages_of
from signals import services
from signals.models import Approval, Signal
from signals.publishing.preview import preview, require_useful
from signals.totals import has_total, total_of

ORDERS_PER_PAGE = 50


def find(pk: int) -> Signal:
    """Return a signal with what its page shows. Raises Http404."""
    related = ("feed", "published_by", "approved_by", "refers_to")
    return get_object_or_404(Signal.objects.select_related(*related), pk=pk)


def address(signal: Signal) -> str:
    return reverse("admin:signals_signal_page", args=[signal.pk])


def show(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """The signal's page; before its publication, a preview of what would happen."""
    signal = find(pk)
    context: dict[str, Any] = {
        "signal": signal,
        "pair": pair_sentences(signal),
        "halts": [halt for halt in banners.kill_switch_banners() if halt.concerns(signal)],
        "can_change": can(request, Right.PUBLISH),
        "can_approve": can(request, Right.APPROVE),
    }  # fmt: skip
    if not signal.is_published:
        return page(request, "signal/waiting.html", signal.number, **context, **_before(signal))
    return page(request, "signal/page.html", signal.number, **context, **_results(request, signal))


def _before(signal: Signal) -> dict[str, Any]:
    """Return the preview of a publication, if it is still possible."""
    ended = signal.cancelled_at is not None or signal.is_past(market_now())
    if ended or signal.approval == Approval.REJECTED:
        return {"ended": ended}
    legs = [reach_preview.SignalPreview(leg, preview(leg)) for leg in _published_with(signal)]
    labels = [reach_preview.button_label(leg.expected) for leg in legs]
    return {
        "ended": False,
        "legs": legs,
        "button": labels[0] if all(labels) else "",
        "refresh_seconds": reach_preview.REFRESH_SECONDS,
    }


def _published_with(signal: Signal) -> list[Signal]:
    """Return the signal, and the other leg of its OCO pair."""
    other = signal.other_leg
    return [signal] if other is None else [signal, other]


def _results(request: HttpRequest, signal: Signal) -> dict[str, Any]:
    counted = candidates.counts(signal)
    matching = candidates.matching_orders(signal, request.GET)
    orders = Paginator(matching, ORDERS_PER_PAGE)
    if not any(request.GET.get(name) for name in candidates.FILTERS):
        orders.count = counted.in_table  # instead of counting all of them again
    one_page = orders.get_page(request.GET.get("page"))
    first = max(one_page.start_index() - 1, 0)
    lines = candidates.details_of(matching[first : one_page.end_index()])
    stages = stages_of(candidates.orders_of(signal), count=counted.in_table)
    return {
        "counts": counted,
        "archive_note": note_of(signal, counted.archived),
        "funnel": funnel(counted.progress),
        "ack": candidates.ack_times(stages.answered_ms),
        "stages": stages,
        "pills": [(share, counted.order_shares[share]) for share in candidates.FILTER_STATES],
        "broker_types": sorted(counted.broker_types),
        "reasons": [
            (reason, counted.meanings[reason], count)
            for reason, count in counted.reasons.most_common()
        ],
        "candidates": [candidates.Candidate(order) for order in lines],
        "one_page": one_page,
        "filters": request.GET,
        "read_at": timezone.now(),
        "follow_up": _follow_up(signal),
        "total": total_of(signal) if has_total(signal) else None,
    }


def _follow_up(signal: Signal) -> str:
    """Return the address of the form for a MODIFY or CLOSE of this signal, filled in."""
    fields = {
        "feed": signal.feed_id,
        "refers_to": signal.pk,
        "currency_pair": signal.currency_pair,
        "direction": signal.direction,
    }
    return f"{reverse('admin:signals_signal_add')}?{urlencode(fields)}"


COLUMNS = ("connection", "broker_type", "account", "owner", "state", "code", "explanation",
           "quantity", "filled", "price", "slippage", "slippage_unit", "ack_ms", "client_order_id",
           "broker_order_id")  # fmt: skip


def export(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Export the filtered candidates as CSV, last those whose orders are in the archive."""
    signal = find(pk)
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{signal.number}.csv"'
    writer = csv.writer(response)
    writer.writerow(COLUMNS)
    for order in candidates.filtered_orders(signal, request.GET):
        writer.writerow(_line(candidates.Candidate(order)))
    for archived in candidates.matching_archived(signal, request.GET):
        writer.writerow(_archived_line(archived))
    return response


def _line(candidate: candidates.Candidate) -> list[str]:
    order = candidate.order
    return [
        *_account(order.connection), order.status, candidate.code,
        inert(candidate.explanation), plain(order.quantity),
        plain(order.filled_quantity), plain(order.avg_fill_price), plain(order.slippage_pips),
        order.slippage_unit if order.slippage_pips is not None else "",
        milliseconds(order.ack_ms).replace(",", ""), order.client_order_id or "",
        inert(order.broker_order_id),
    ]  # fmt: skip


def _archived_line(order: ArchivedOrder) -> list[str]:
    return [
        *_account(order.connection), order.status, order.reason, "Its row is in the archive.",
        plain(order.quantity), "0", "", "", "", milliseconds(order.ack_ms).replace(",", ""),
        order.client_order_id or "", inert(order.broker_order_id),
    ]  # fmt: skip


def _account(connection: ExecutionConnection) -> list[str]:
    texts = (connection.name, connection.type, connection.account, _owner(connection))
    return [inert(text) for text in texts]


def _owner(connection: ExecutionConnection) -> str:
    owner = connection.user or connection.admin
    return owner.get_username() if owner else ""


def publish(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Confirm, then publish; concurrent confirmations publish once."""
    require_permission(request, Right.PUBLISH)
    signal = find(pk)
    if request.method == "POST":
        return run_action(request, lambda: _publish(signal, request), back=address(signal))
    if signal.is_published:
        return HttpResponseRedirect(address(signal))
    previews = {leg: preview(leg) for leg in _published_with(signal)}
    expected = previews[signal]
    points = [
        *(
            Consequence(
                point.css, f"{leg.number}: {point.text}" if len(previews) > 1 else point.text
            )
            for leg, of_leg in previews.items()
            for point in reach_preview.consequences(leg, of_leg)
        ),
        Consequence(
            "validated",
            "You cannot undo a publication. Unfilled orders can be cancelled; filled ones need a "
            "CLOSE.",
        ),
    ]
    return confirm(
        request,
        ConfirmationPage(
            title=_publication_title(list(previews)),
            points=points,
            button=reach_preview.button_label(expected),
            back=address(signal),
            decline_label="Not now",
            refresh_seconds=reach_preview.REFRESH_SECONDS,
            as_of=expected.as_of,
        ),
    )


def _publication_title(legs: list[Signal]) -> str:
    """Return the question; the legs of an OCO pair are published together."""
    names = " and ".join(f"{leg.number}: {leg}" for leg in legs)
    return f"Publish {names}?" if len(legs) == 1 else f"Publish the pair {names}?"


def _publish(signal: Signal, request: HttpRequest) -> str:
    if not signal.is_published:
        for leg in _published_with(signal):
            require_useful(leg)
    won = services.publish(signal.pk, by=request.user)  # type: ignore[arg-type]
    signal.refresh_from_db()
    if not won:
        return f"{signal.number} was already published; nothing was sent twice."
    return f"{signal.number} was published to {number(signal.candidate_count or 0)} candidates."


def cancel(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Confirm, then cancel the signal. A published CLOSE or MODIFY is refused at once."""
    require_permission(request, Right.PUBLISH)
    signal = find(pk)
    try:
        services.require_not_follow_up(signal)
    except ConflictError as error:
        messages.error(request, error_message(error))
        return HttpResponseRedirect(address(signal))
    if request.method == "POST":
        return run_action(request, lambda: _cancel(signal, request), back=address(signal))
    legs = _published_with(signal)
    open_ones = sum(candidates.counts(leg).shares["working"] for leg in legs if leg.is_published)
    points = (
        [
            Consequence(
                "cancelreq", f"Cancels the {number(open_ones)} orders that are still working."
            ),
            Consequence("filled", "What is filled stays open with its stops until a CLOSE."),
        ]
        if signal.is_published
        else [Consequence("cancelled", "It can no longer be published. Nothing was sent.")]
    )
    points += [
        Consequence("cancelled", f"Cancels {leg.number} with it: the other leg of its pair.")
        for leg in legs
        if leg.pk != signal.pk
    ]
    title = f"Cancel {signal.number}: {signal}?"
    return confirm(request, ConfirmationPage(title, points, "Cancel the signal", address(signal)))


def _cancel(signal: Signal, request: HttpRequest) -> str:
    won = services.cancel(signal.pk, by=request.user)  # type: ignore[arg-type]
    return f"{signal.number} is cancelled." if won else f"{signal.number} was already cancelled."


def decide(request: HttpRequest, pk: int, to: str, **_: Any) -> HttpResponse:
    """Approve or reject, without a confirmation: nothing is sent."""
    require_permission(request, Right.APPROVE)
    signal = find(pk)
    if request.method != "POST":
        return HttpResponseRedirect(address(signal))
    act = services.approve if to == Approval.APPROVED else services.reject
    by: Any = request.user
    return run_action(
        request,
        lambda: (
            f"{signal.number} is {to.lower()}."
            if act(signal.pk, by=by)
            else f"{signal.number} was already {to.lower()}."
        ),
        back=address(signal),
    )


def approve(request: HttpRequest, pk: int, **more: Any) -> HttpResponse:
    return decide(request, pk, Approval.APPROVED, **more)


def reject(request: HttpRequest, pk: int, **more: Any) -> HttpResponse:
    return decide(request, pk, Approval.REJECTED, **more)


URLS: tuple[tuple[str, str, View], ...] = (
    ("<int:pk>/", "signals_signal_page", show),
    ("<int:pk>/candidates.csv", "signals_signal_export", export),
    ("<int:pk>/publish/", "signals_signal_publish", publish),
    ("<int:pk>/cancel/", "signals_signal_cancel", cancel),
    ("<int:pk>/approve/", "signals_signal_approve", approve),
    ("<int:pk>/reject/", "signals_signal_reject", reject),
)
