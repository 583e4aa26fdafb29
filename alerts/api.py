"""REST API of a feed with its alerts: what arrived, how a text is read, its mapping, its bot."""

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from alerts.inbox.log import alerts_of, entries_for, state_of
from alerts.inbox.serializers import AlertLogSerializer
from alerts.models import AlertState
from alerts.preview import preview_alert
from alerts.preview_serializers import (
    AlertMappingSerializer,
    AlertReadingSerializer,
    AlertTextSerializer,
)
from alerts.telegram.api import TelegramActions
from common.permissions import Right
from common.web.api_fields import validated_body
from signals import api
from signals.feeds import services as feeds
from users.api import caller


class FeedViewSet(TelegramActions, api.FeedViewSet):
    keyless: ClassVar[dict[str, str]] = {"read_alert": "It shows how a text is read."}
    rights = {
        **api.FeedViewSet.rights,
        "read_alert": Right.PUBLISH,
        "set_alert_mapping": Right.FEEDS,
        **TelegramActions.telegram_rights,
    }
    owner_reads = (
        api.FeedViewSet.owner_reads | TelegramActions.telegram_reads | {"alerts", "alert_mapping"}
    )

    @extend_schema(
        responses=AlertLogSerializer(many=True),
        parameters=[OpenApiParameter("state", enum=AlertState.values, description="Only those.")],
        filters=False,
    )
    @action(detail=True, methods=["get"], filterset_class=None)
    def alerts(self, request: Request, slug: str) -> Response:
        """List the alerts of the last week with what became of each, the newest first."""
        found = alerts_of(self.get_object(), state=state_of(request.query_params.get("state", "")))
        pages: Any = self  # rows of another model than its own
        alerts = pages.paginate_queryset(found)
        return self.get_paginated_response(AlertLogSerializer(entries_for(alerts), many=True).data)

    @extend_schema(request=AlertTextSerializer, responses=AlertReadingSerializer)
    @action(detail=True, methods=["post"], url_path="alerts/read")
    def read_alert(self, request: Request, slug: str) -> Response:
        """Show how an alert would be read and what it would do now. Nothing is published.

        A text that would be refused is an answer too, with its `errors`.
        """
        text = validated_body(AlertTextSerializer, request)["text"]
        shown = preview_alert(self.get_object(), text.encode())
        return Response(AlertReadingSerializer(shown).data)

    @extend_schema(responses=AlertMappingSerializer, filters=False)
    @action(
        detail=True, methods=["get"], url_path="alert-mapping", filterset_class=None,
        pagination_class=None,
    )  # fmt: skip
    def alert_mapping(self, request: Request, slug: str) -> Response:
        """Return how the feed's alerts are read besides the known forms."""
        return Response(AlertMappingSerializer({"mapping": self.get_object().alert_mapping}).data)

    @extend_schema(request=AlertMappingSerializer, responses=AlertMappingSerializer)
    @alert_mapping.mapping.patch
    def set_alert_mapping(self, request: Request, slug: str) -> Response:
        """Replace the mapping: paths of a JSON, symbols, side words, phrases without meaning."""
        feed = self.get_object()
        mapping = validated_body(AlertMappingSerializer, request)["mapping"]
        feed = feeds.update_feed(feed.pk, by=caller(request), alert_mapping=mapping)
        return Response(AlertMappingSerializer({"mapping": feed.alert_mapping}).data)
