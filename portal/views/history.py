"""The history of signals, orders and trades: search, pages, export."""

from django.http import Http404, HttpRequest, HttpResponse

from analytics.history.exports import as_csv, as_json, wanted_of
from analytics.history.rows import HISTORY, HistoryFilter
from common.web.streaming import StreamedResponse
from connections.models import ExecutionConnection
from portal.pages import current_user, page, tenants_only
from signals.models import Feed
from users.tenancy import for_all_tenants

A_PAGE = 50
SHOWN = {
    "signals": ("signal", "published_at", "feed", "action", "pair", "side", "open_price",
                "trade_plan_id"),
    "orders": ("order", "created_at", "account", "signal", "pair", "side", "quantity", "price",
               "slippage", "state", "reason"),
    "trades": ("position", "closed_at", "account", "signal", "pair", "side", "quantity",
               "entry_price", "closed_by", "net", "currency"),
}  # fmt: skip
STATE_LABELS = {"signals": "Action", "orders": "State", "trades": "Closed by"}
"""What a table's filter of states offers."""


@tenants_only
def history(request: HttpRequest, *, table: str = "signals") -> HttpResponse:
    """One tab: what matches, newest first."""
    if table not in HISTORY:
        raise Http404
    user, wanted = current_user(request), wanted_of(request.GET)
    found = HISTORY[table].page(user, wanted, limit=A_PAGE + 1)
    shown = SHOWN[table]
    with for_all_tenants():
        feeds = list(
            Feed.objects.filter(subscriptions__connection__user=user).distinct().order_by("name")
        )
    return page(
        request,
        "history.html",
        table=HISTORY[table],
        tabs=list(HISTORY),
        columns=shown,
        rows=found[:A_PAGE],
        state_label=STATE_LABELS[table],
        before=found[A_PAGE - 1]["key"] if len(found) > A_PAGE else None,
        accounts=ExecutionConnection.objects.filter(user=user).order_by("name"),
        feeds=feeds,
        filters=request.GET,
        is_filtered=wanted != HistoryFilter(),
    )


@tenants_only
def export(request: HttpRequest, *, table: str, form: str) -> HttpResponse:
    """Download all that matches as CSV or JSON, streamed."""
    if table not in HISTORY:
        raise Http404
    rows = HISTORY[table].all_rows(current_user(request), wanted_of(request.GET))
    lines = as_csv(HISTORY[table].columns, rows) if form == "csv" else as_json(rows)
    kind = "text/csv; charset=utf-8" if form == "csv" else "application/json"
    response = StreamedResponse(lines, content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="fillcast-{table}.{form}"'
    return response  # type: ignore[return-value]  # the stubs know no common class
