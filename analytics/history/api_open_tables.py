"""REST API of what is open now as a stream: open positions and working orders."""

from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from analytics.history.open_tables import OPEN_TABLES
from analytics.orders.working import KINDS
from analytics.streams import ONLY_STREAMED, STREAMED, stream, streamed_alone
from common.web.api_parameters import check_parameters
from common.web.api_views import ApiView
from common.web.streaming import StreamedResponse
from users.api import caller

FILTERS = [
    OpenApiParameter("table", str, OpenApiParameter.PATH, enum=list(OPEN_TABLES)),
    OpenApiParameter("account", UUID, description="One of your accounts."),
    OpenApiParameter("pair", str, description="Such as EUR/USD, or a part of it."),
    OpenApiParameter("feed", str, description="Of orders: the feed's slug."),
    OpenApiParameter("kind", str, enum=list(KINDS), description="Of orders: what they wait for."),
    ONLY_STREAMED,
]


class OpenExportView(ApiView):
    """What your accounts have open now: `open-positions` or `working-orders`, newest first."""

    is_only_streamed = True
    renderer_classes = (*STREAMED, JSONRenderer)

    @extend_schema(parameters=FILTERS, responses=streamed_alone())
    def get(self, request: Request, table: str) -> StreamedResponse:
        """All rows with the prices of now, as CSV or JSON lines."""
        if table not in OPEN_TABLES:
            raise NotFound
        check_parameters(request, FILTERS)
        rows = OPEN_TABLES[table].rows(caller(request), request.query_params)
        return stream(request, rows, name=table)
