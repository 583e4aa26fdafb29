"""REST API of where a routed subscription's next entry would go."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.what_if.route_preview import RouteLine, preview_route
from common.errors import ConflictError
from common.reason_codes import Code
from common.web.api_fields import Amount, Reason, StrictSerializer, invalid, reason
from common.web.api_views import ApiView
from connections.api.connections import own_connections
from connections.models import Subscription
from users.api import caller


class RouteLineSerializer(StrictSerializer):
    """An account of the route, with what decides."""

    connection = serializers.UUIDField(source="account.connection_id")
    connection_name = serializers.CharField(source="name")
    is_chosen = serializers.BooleanField(help_text="Whether the entry would go there.")
    portion = Amount(allow_null=True, help_text="Percent of the signals; policy SHARE only.")
    spread = Amount(allow_null=True, help_text="Ask less bid; null without a quote.")
    is_quote_old = serializers.BooleanField(help_text="Too old to be compared.")
    latency_ms = serializers.IntegerField(
        allow_null=True, help_text="From sending to the broker's answer."
    )
    reason = serializers.SerializerMethodField(help_text="Why it may not trade now; null: it may.")

    @extend_schema_field(Reason(allow_null=True))
    def get_reason(self, line: RouteLine) -> dict[str, str] | None:
        """Return the code with its sentence and hint."""
        return reason(line.account.reason or "")


class RoutePreviewSerializer(StrictSerializer):
    """Where an entry would go now. With the policy SHARE no account is chosen before."""

    pair = serializers.CharField()
    side = serializers.CharField(source="side.value")
    policy = serializers.CharField(help_text="`route_policy` of the subscription.")
    lines = RouteLineSerializer(many=True, help_text="The accounts of the route, in its order.")


class RouteViewSet(ApiView, viewsets.GenericViewSet[Subscription]):
    """The routes of your subscriptions."""

    queryset = Subscription.objects.none()
    serializer_class = RoutePreviewSerializer
    lookup_value_regex = "[0-9]{1,18}"
    pagination_class = None
    filter_backends: Any = ()

    def get_queryset(self) -> QuerySet[Subscription]:
        """Return the live subscriptions that the caller may see."""
        mine = own_connections(caller(self.request)).values("pk")
        return Subscription.objects.filter(connection__in=mine, archived_at=None)

    @extend_schema(
        responses=RoutePreviewSerializer,
        parameters=[
            OpenApiParameter("symbol", str, description="Default: that of the feed's last trade."),
            OpenApiParameter("side", str, enum=["BUY", "SELL"], description="Default: BUY."),
        ],
    )
    @action(detail=True)
    def route(self, request: Request, pk: str) -> Response:
        """State to which account an entry would go now, and why. 409 STATE_CONFLICT: it has no
        route."""
        side = request.query_params.get("side", "BUY")
        if side not in ("BUY", "SELL"):
            error = invalid(Code.FIELD_INVALID, "BUY or SELL.")
            raise serializers.ValidationError({"side": error.detail})
        found = preview_route(self.get_object(), request.query_params)
        if found is None:
            raise ConflictError(Code.STATE_CONFLICT, "The subscription has no route.")
        if found.error:
            error = invalid(Code.FIELD_INVALID, found.error)
            raise serializers.ValidationError({"symbol": error.detail})
        return Response(RoutePreviewSerializer(found).data)
