"""A signal's page: what each candidate did and why; publish and cancel after a question."""

import csv
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone

from common.clocks import market_now
from common.confirmation import ConfirmationPage, Consequence, error_message
from common.errors import ConflictError
from common.formatting import milliseconds, number
from common.money import plain
from common.permissions import Right
from connections.models import ExecutionConnection
from console.pages.page_helpers import View, can, confirm, page, require_permission, run_action
from console.queries import banners, candidates
from console.queries import reach_preview as shown
from console.queries.funnel import funnel
from signals import services
from signals.models import Approval, Signal
from signals.preview import preview, require_useful

A_PAGE = 50


def find(pk: int) -> Signal:
    related = ("feed", "published_by", "approved_by", "refers_to")
    return get_object_or_404(Signal.objects.select_related(*related), pk=pk)


def address(signal: Signal) -> str:
    return reverse("admin:signals_signal_page", args=[signal.pk])


def show(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """The page itself. Not published: what would happen, and the buttons for it."""
    signal = find(pk)
    context: dict[str, Any] = {
        "signal": signal,
        "halts": [halt for halt in banners.kill_switch_banners() if halt.switch.scope in {"ALL",
                                                                                          "FEED"}
                  and halt.switch.feed_id in {None, signal.feed_id}],
        "can_change": can(request, Right.PUBLISH),
        "can_approve": can(request, Right.APPROVE),
    }  # fmt: skip
    if not signal.is_published:
        return page(request, "signal/waiting.html", signal.number, **context, **_before(signal))
    return page(request, "signal/page.html", signal.number, **context, **_results(request, signal))


def _before(signal: Signal) -> dict[str, Any]:
    """What would happen, while that is still open."""
    ended = signal.cancelled_at is not None or signal.is_past(market_now())
    if ended or signal.approval == Approval.REJECTED:
        return {"ended": ended}
    found = preview(signal)
    return {
        "ended": False,
        "preview": found,
        "lines": shown.lines(found),
        "button": shown.button(found),
        "faults": list(found.faults) if not found.takers else [],
        "refresh_seconds": shown.FOLLOW_SECONDS,
    }


def _results(request: HttpRequest, signal: Signal) -> dict[str, Any]:
    counted = candidates.counts(signal)
    found = Paginator(candidates.filtered_orders(signal, request.GET), A_PAGE)
    one_page = found.get_page(request.GET.get("page"))
    return {
        "counts": counted,
        "funnel": funnel(counted.progress),
        "ack": candidates.ack_times(signal),
        "pills": [(share, counted.shares[share]) for share in candidates.FILTER_STATES],
        "kinds": sorted(counted.broker_types),
        "reasons": [
            (reason, counted.meanings[reason], many)
            for reason, many in counted.reasons.most_common()
        ],
        "candidates": [candidates.Candidate(order) for order in one_page],
        "one_page": one_page,
        "asked": request.GET,
        "read_at": timezone.now(),
        "follow_up": _follow_up(signal),
    }


def _follow_up(signal: Signal) -> str:
    """The form of a MODIFY or CLOSE of this signal, filled in."""
    told = {
        "feed": signal.feed_id,
        "refers_to": signal.pk,
        "currency_pair": signal.currency_pair,
        "direction": signal.direction,
    }
    return f"{reverse('admin:signals_signal_add')}?{urlencode(told)}"


COLUMNS = ("connection", "kind", "account", "owner", "state", "code", "words", "quantity", "filled",
           "price", "slippage", "slippage_unit", "ack_ms", "client_order_id",
           "broker_order_id")  # fmt: skip


def export(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """The filtered candidates as CSV."""
    signal = find(pk)
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{signal.number}.csv"'
    writer = csv.writer(response)
    writer.writerow(COLUMNS)
    for order in candidates.filtered_orders(signal, request.GET):
        writer.writerow(_line(candidates.Candidate(order)))
    return response


def _line(candidate: candidates.Candidate) -> list[str]:
    order = candidate.order
    connection = order.connection
    return [
        *(_inert(text) for text in (connection.name, connection.type, connection.account,
                                    _owner(connection))),
        order.status, candidate.code, _inert(candidate.words), plain(order.quantity),
        plain(order.filled_quantity), plain(order.avg_fill_price), plain(order.slippage_pips),
        order.slippage_unit if order.slippage_pips is not None else "",
        milliseconds(candidate.ack_ms).replace(",", ""), order.client_order_id or "",
        _inert(order.broker_order_id),
    ]  # fmt: skip


def _owner(connection: ExecutionConnection) -> str:
    owner = connection.user or connection.admin
    return owner.get_username() if owner else ""


def _inert(text: str) -> str:
    """A text that a spreadsheet will not take for a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


def publish(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Ask, then publish: once, whoever else confirms at the same time."""
    require_permission(request, Right.PUBLISH)
    signal = find(pk)
    if request.method == "POST":
        return run_action(request, lambda: _publish(signal, request), back=address(signal))
    if signal.is_published:
        return HttpResponseRedirect(address(signal))
    found = preview(signal)
    points = [
        *shown.points(signal, found),
        Consequence("validated", "A publication cannot be taken back. What is not yet filled can "
                                 "be "
              "cancelled, what is filled needs a CLOSE."),
    ]  # fmt: skip
    return confirm(
        request,
        ConfirmationPage(
            title=f"Publish {signal.number}: {signal}?",
            points=points,
            button=shown.button(found),
            back=address(signal),
            keep="Not now",
            follow_seconds=shown.FOLLOW_SECONDS,
            as_of=found.as_of,
        ),
    )


def _publish(signal: Signal, request: HttpRequest) -> str:
    if not signal.is_published:
        require_useful(signal)
    won = services.publish(signal.pk, by=request.user)  # type: ignore[arg-type]
    signal.refresh_from_db()
    if not won:
        return f"{signal.number} was published already; nothing was sent twice."
    return f"{signal.number} is published to {number(signal.candidate_count or 0)} candidates."


def cancel(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Ask, then end the signal. A published CLOSE or MODIFY is refused before the question."""
    require_permission(request, Right.PUBLISH)
    signal = find(pk)
    try:
        services.require_not_follow_up(signal)
    except ConflictError as error:
        messages.error(request, error_message(error))
        return HttpResponseRedirect(address(signal))
    if request.method == "POST":
        return run_action(request, lambda: _cancel(signal, request), back=address(signal))
    open_ones = candidates.counts(signal).shares["working"] if signal.is_published else 0
    points = (
        [
            Consequence("cancelreq", f"Withdraws the {number(open_ones)} orders that still work."),
            Consequence(
                "filled", "What is filled stays open with its stops; only a CLOSE ends it."
            ),
        ]
        if signal.is_published
        else [Consequence("cancelled", "It can never be published afterwards. Nothing was sent.")]
    )
    title = f"Cancel {signal.number}: {signal}?"
    return confirm(request, ConfirmationPage(title, points, "Cancel the signal", address(signal)))


def _cancel(signal: Signal, request: HttpRequest) -> str:
    won = services.cancel(signal.pk, by=request.user)  # type: ignore[arg-type]
    return f"{signal.number} is cancelled." if won else f"{signal.number} was cancelled already."


def decide(request: HttpRequest, pk: int, to: str, **_: Any) -> HttpResponse:
    """Approve or reject, without a question: nothing is sent by it."""
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
            else f"{signal.number} was {to.lower()} already."
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
