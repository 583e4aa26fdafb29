"""REST API of the history of signals, orders and trades."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.history.exports import exact, table_of, wanted_of
from analytics.history.own_trail import COLUMNS, all_changes, changes
from analytics.history.rows import HISTORY
from analytics.streams import FORMAT, STREAMED, is_streamed, stream, streamed
from common.web.api_fields import StrictSerializer
from common.web.api_parameters import check_parameters
from common.web.api_views import ApiView
from common.web.streaming import StreamedResponse
from users.api import caller

A_PAGE = 100
FILTERS = [
    OpenApiParameter("table", str, OpenApiParameter.PATH, enum=list(HISTORY)),
    OpenApiParameter("q", str, description="A number, plan, strategy, note, or broker's number."),
    OpenApiParameter("pair", str, description="Such as EUR/USD, or a part of it."),
    OpenApiParameter("account", UUID, description="One of your accounts."),
    OpenApiParameter("feed", int, description="The number of a feed."),
    OpenApiParameter("state", str, description="Of orders; of trades why they closed; an action."),
    OpenApiParameter("from", date, description="First day, UTC."),
    OpenApiParameter("to", date, description="Last day, included, UTC."),
    OpenApiParameter("before", int, description="`next_before` of the previous page."),
    FORMAT,
]


TRAIL_FILTERS = [one for one in FILTERS if one.name in ("before", "format")]


class HistorySerializer(StrictSerializer):
    """A page of the history. next_before: for the next page; null: there is none."""

    results = serializers.ListField(child=serializers.DictField())
    next_before = serializers.IntegerField(allow_null=True)


class HistoryView(ApiView):
    """Your history: `signals`, `orders` or `trades`, newest first."""

    renderer_classes = (JSONRenderer, *STREAMED)

    @extend_schema(parameters=FILTERS, responses=streamed(HistorySerializer))
    def get(self, request: Request, table: str) -> Response | StreamedResponse:
        """Search it; as CSV or JSON lines all that matches is streamed."""
        if table not in HISTORY:
            raise NotFound
        check_parameters(request, FILTERS)
        user, wanted = caller(request), wanted_of(request.query_params)
        if is_streamed(request):
            found = table_of(HISTORY[table].columns, HISTORY[table].all_rows(user, wanted))
            return stream(request, found, name=table)
        return _page(HISTORY[table].page(user, wanted, limit=A_PAGE + 1))


class TrailView(ApiView):
    """Your audit trail: changes that you made, and changes of your settings, newest first."""

    renderer_classes = (JSONRenderer, *STREAMED)

    @extend_schema(
        parameters=TRAIL_FILTERS,
        responses=streamed(HistorySerializer),
    )
    def get(self, request: Request) -> Response | StreamedResponse:
        """What was changed by whom, when, from where, and by which API key."""
        check_parameters(request, TRAIL_FILTERS)
        user, wanted = caller(request), wanted_of(request.query_params)
        if is_streamed(request):
            return stream(request, table_of(COLUMNS, all_changes(user)), name="audit-trail")
        return _page(changes(user, before=wanted.before, limit=A_PAGE + 1))


def _page(found: Sequence[Mapping[str, Any]]) -> Response:
    """Return a page of rows, of which one more than a page was read."""
    before = found[A_PAGE - 1]["key"] if len(found) > A_PAGE else None
    return Response({"results": [exact(row) for row in found[:A_PAGE]], "next_before": before})
