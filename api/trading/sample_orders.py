"""REST API of an account's sample order: place it, read its steps, close it."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from common.permissions import Right
from common.web.api_fields import Amount, StrictSerializer, UtcDateTime, WholeNumber, validated_body
from common.web.api_views import ApiView
from connections.api.connections import own_connections
from connections.models import ExecutionConnection
from execution.sample_orders import CLOSE_AFTER_SECONDS, close_sample, newest_sample, place_sample
from users.api import caller


class NewSampleOrderSerializer(StrictSerializer):
    """What to trade; nothing of it is needed."""

    symbol = serializers.CharField(
        max_length=20,
        required=False,
        help_text="A pair that the account lists, such as EUR/USD. Default: one that is open.",
    )
    close_after_seconds = WholeNumber(
        required=False,
        min_value=1,
        max_value=3600,
        help_text=f"Close it so long after its fill, such as {CLOSE_AFTER_SECONDS}. Default: when"
        " you close it.",
    )


class SampleStepSerializer(StrictSerializer):
    """A step from the publication to the close. Those without a time are not reached."""

    key = serializers.CharField()
    name = serializers.CharField()
    text = serializers.CharField()
    at = UtcDateTime(allow_null=True)
    ms = serializers.IntegerField(allow_null=True, help_text="Milliseconds since the publication.")


class SampleOrderSerializer(StrictSerializer):
    """The account's newest sample order."""

    state = serializers.ChoiceField(choices=["PLACED", "OPEN", "CLOSING", "CLOSED", "NOT_FILLED"])
    signal = serializers.IntegerField(source="signal.pk")
    order = serializers.IntegerField(source="order.pk")
    position = serializers.IntegerField(source="position.pk", allow_null=True, default=None)
    symbol = serializers.CharField(source="order.pair")
    quantity = Amount(source="order.quantity", allow_null=True, help_text="Base units.")
    price = Amount(source="order.avg_fill_price", allow_null=True)
    reason = serializers.CharField(source="order.reason", help_text="Why it was not filled, or ''.")
    steps = SampleStepSerializer(
        many=True, help_text="From the publication to the close; without a time: not reached."
    )


class SampleOrderViewSet(ApiView, viewsets.GenericViewSet[ExecutionConnection]):
    """The smallest order that an account's broker takes, to see that the whole way works."""

    queryset = ExecutionConnection.objects.none()
    serializer_class = SampleOrderSerializer
    lookup_value_regex = "[0-9a-fA-F-]{36}"
    pagination_class = None
    filter_backends: Any = ()
    rights = {"place": Right.TRADE, "close": Right.TRADE}

    def get_queryset(self) -> QuerySet[ExecutionConnection]:
        """Return the connections that the caller may see."""
        return own_connections(caller(self.request))

    @extend_schema(responses=SampleOrderSerializer)
    @action(detail=True, url_path="sample-order")
    def sample_order(self, request: Request, pk: str) -> Response:
        """The newest one, with the time of each step. 404: there was none."""
        sample = newest_sample(self._account())
        if sample is None:
            raise Http404
        return Response(SampleOrderSerializer(sample).data)

    @extend_schema(
        request=NewSampleOrderSerializer,
        responses={
            201: SampleOrderSerializer,
            200: OpenApiResponse(SampleOrderSerializer, description="One is open already."),
        },
    )
    @sample_order.mapping.post
    def place(self, request: Request, pk: str) -> Response:
        """Buy the smallest quantity at market, on a paper or demo account.

        While one is open, that one is returned and nothing is placed. 409 SAMPLE_NEEDS_DEMO,
        SAMPLE_MARKET_CLOSED, QUOTE_MISSING, QUOTE_STALE, INSTRUMENTS_NOT_READ, or the code of what
        keeps the account from trading, such as CONNECTION_PAUSED, ENTRIES_HALTED, TRADING_HALTED.
        """
        account = self._account()
        body = validated_body(NewSampleOrderSerializer, request)
        sample, is_new = place_sample(
            account,
            by=caller(request),
            pair=body.get("symbol", "").upper(),
            close_after_seconds=body.get("close_after_seconds"),
        )
        code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response(SampleOrderSerializer(sample).data, status=code)

    @extend_schema(request=None, responses={202: SampleOrderSerializer})
    @action(detail=True, methods=["post"], url_path="sample-order/close")
    def close(self, request: Request, pk: str) -> Response:
        """Close it, or cancel it if it has not filled. 409 SAMPLE_NOT_OPEN."""
        sample = close_sample(self._account(), by=caller(request))
        return Response(SampleOrderSerializer(sample).data, status=status.HTTP_202_ACCEPTED)

    def _account(self) -> UUID:
        found: UUID = self.get_object().pk
        return found
