"""REST API of what rounding left out of a subscription's entries."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.orders.rounding_debt import rounding_debts
from common.web.api_fields import Amount, StrictSerializer
from common.web.api_views import ApiView
from connections.api.connections import own_connections
from connections.models import Subscription
from users.api import caller


class RoundingDebtSerializer(StrictSerializer):
    """What rounding left out of the entries in one pair."""

    pair = serializers.CharField()
    quantity = Amount(
        help_text="Base units; below zero if the broker's minimum was traded instead of less."
    )
    entries = serializers.IntegerField(help_text="How many entries it is the sum of.")


class RoundingDebtViewSet(ApiView, viewsets.GenericViewSet[Subscription]):
    """What rounding left out of the entries of your subscriptions."""

    queryset = Subscription.objects.none()
    serializer_class = RoundingDebtSerializer
    lookup_value_regex = "[0-9]{1,18}"
    pagination_class = None
    filter_backends: Any = ()

    def get_queryset(self) -> QuerySet[Subscription]:
        """Return the subscriptions that the caller may see."""
        mine = own_connections(caller(self.request)).values("pk")
        return Subscription.objects.filter(connection__in=mine)

    @extend_schema(responses=RoundingDebtSerializer(many=True))
    @action(detail=True, url_path="rounding-debt")
    def rounding_debt(self, request: Request, pk: str) -> Response:
        """The calculated quantities less those that were sent, by pair; pairs without any omitted.

        Counted are entries that the broker has or filled, and those below its minimum.
        """
        subscription = self.get_object()
        debts = rounding_debts(subscription.connection_id).get(subscription.feed_id, [])
        return Response(RoundingDebtSerializer(debts, many=True).data)
