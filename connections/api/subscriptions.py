"""REST views of subscriptions."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from common.permissions import Right
from connections import services
from connections.api.connections import RelatedRowsMixin, own_connections
from connections.api.subscription_serializers import SubscriptionSerializer, route_of
from connections.models import Subscription
from users.api import caller

ROUTE_FIELDS = ("route_policy", "routes")


class SubscriptionFilter(filters.FilterSet):  # type: ignore[misc]  # it has no types
    """The filters of subscriptions."""

    feed = filters.CharFilter(field_name="feed__slug")
    archived = filters.BooleanFilter(field_name="archived_at", lookup_expr="isnull", exclude=True)

    class Meta:
        model = Subscription
        fields = ("connection", "is_paused")


def _split(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values without those of a route, and the arguments of `set_route`."""
    own = {name: value for name, value in values.items() if name not in ROUTE_FIELDS}
    return own, route_of(values)


class SubscriptionViewSet(
    mixins.CreateModelMixin,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    RelatedRowsMixin[Subscription],
):
    """The subscriptions of your connections to feeds."""

    queryset = Subscription.objects.none()
    serializer_class = SubscriptionSerializer
    lookup_value_regex = "[0-9]{1,18}"
    filterset_class = SubscriptionFilter
    rights = dict.fromkeys(
        ("create", "partial_update", "destroy", "pause", "resume"), Right.CONNECTIONS
    )
    ordering_fields = ("id",)
    http_method_names = ("get", "post", "patch", "delete", "head", "options")

    def get_queryset(self) -> QuerySet[Subscription]:
        """Return the subscriptions that the caller may see."""
        mine = own_connections(caller(self.request)).values("pk")
        taken = Subscription.objects.select_related("feed").prefetch_related("routes")
        return taken.filter(connection__in=mine)

    def lock_for_change(self, row: Subscription) -> None:
        """Lock the connection first, as the services do."""
        super().lock_for_change(row.connection)
        super().lock_for_change(row)

    def perform_create(self, serializer: serializers.BaseSerializer[Subscription]) -> None:
        """Subscribe the connection to the feed."""
        values, route = _split(serializer.validated_data)
        by = caller(self.request)
        with transaction.atomic():
            serializer.instance = services.subscribe(
                connection_id=values.pop("connection").pk,
                feed_id=values.pop("feed").pk,
                by=by,
                **values,
            )
            if route:
                services.set_route(serializer.instance.pk, by=by, **route)
                serializer.instance.refresh_from_db()

    def perform_update(self, serializer: serializers.BaseSerializer[Subscription]) -> None:
        """Apply the changes."""
        row, by = self.get_object(), caller(self.request)
        values, route = _split(serializer.validated_data)
        with transaction.atomic():
            services.update_subscription(row.pk, by=by, **values)
            if route:
                services.set_route(row.pk, by=by, **route)
        serializer.instance = self.get_object()

    @extend_schema(request=None, responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """End the subscription: no later signal is taken; open positions stay."""
        services.unsubscribe(self.get_object().pk, by=caller(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=None, responses=SubscriptionSerializer)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        """Skip the feed's signals until it is resumed."""
        services.pause_subscription(self.get_object().pk, by=caller(request))
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=None, responses=SubscriptionSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """Take the feed's signals again."""
        services.resume_subscription(self.get_object().pk, by=caller(request))
        return Response(self.get_serializer(self.get_object()).data)
