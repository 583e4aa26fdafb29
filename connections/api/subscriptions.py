"""REST views of subscriptions and halts of trading."""

from typing import Any

from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from common.permissions import Right
from connections import services
from connections.api.connections import RelatedRowsMixin, own_connections
from connections.api.subscription_serializers import KillSwitchSerializer, SubscriptionSerializer
from connections.models import KillSwitch, Subscription
from signals.selectors import feeds_for
from users.api import caller


class SubscriptionFilter(filters.FilterSet):  # type: ignore[misc]  # it has no types
    """The filters of subscriptions."""

    feed = filters.CharFilter(field_name="feed__slug")
    archived = filters.BooleanFilter(field_name="archived_at", lookup_expr="isnull", exclude=True)

    class Meta:
        model = Subscription
        fields = ("connection", "is_paused")


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
        return Subscription.objects.select_related("feed").filter(connection__in=mine)

    def perform_create(self, serializer: serializers.BaseSerializer[Subscription]) -> None:
        """Subscribe the connection to the feed."""
        values: dict[str, Any] = dict(serializer.validated_data)
        serializer.instance = services.subscribe(
            connection_id=values.pop("connection").pk,
            feed_id=values.pop("feed").pk,
            by=caller(self.request),
            **values,
        )

    def perform_update(self, serializer: serializers.BaseSerializer[Subscription]) -> None:
        """Apply the changes."""
        row = self.get_object()
        services.update_subscription(row.pk, by=caller(self.request), **serializer.validated_data)
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


class KillSwitchFilter(filters.FilterSet):  # type: ignore[misc]  # it has no types
    """The filters of halts."""

    released = filters.BooleanFilter(field_name="released_at", lookup_expr="isnull", exclude=True)

    class Meta:
        model = KillSwitch
        fields = ("scope", "mode")


class KillSwitchViewSet(
    mixins.CreateModelMixin,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    RelatedRowsMixin[KillSwitch],
):
    """Halts of trading that concern you. With REDUCING only exits are sent, with HALTED nothing.

    You may halt yourself, your connections and your feeds; operators may halt everything. A halt
    applies from the response on.
    """

    queryset = KillSwitch.objects.none()
    serializer_class = KillSwitchSerializer
    lookup_value_regex = "[0-9]{1,18}"
    filterset_class = KillSwitchFilter
    rights = {"create": Right.HALT, "release": Right.RELEASE}
    ordering_fields = ("id",)

    def get_queryset(self) -> QuerySet[KillSwitch]:
        """Return the halts that concern the caller; for operators, all halts."""
        user = caller(self.request)
        rows = KillSwitch.objects.select_related("feed", "set_by", "epoch")
        if user.is_operator:
            return rows
        mine = Q(user=user) | Q(connection__in=own_connections(user).values("pk"))
        visible_feed = Q(feed__in=feeds_for(user).values("pk"))
        return rows.filter(Q(scope=KillSwitch.Scope.ALL) | mine | visible_feed)

    def perform_create(self, serializer: serializers.BaseSerializer[KillSwitch]) -> None:
        """Set the halt."""
        user, values = caller(self.request), dict(serializer.validated_data)
        feed, connection = values.pop("feed", None), values.pop("connection", None)
        target = values.pop("user", None)
        if values["scope"] == KillSwitch.Scope.USER:
            target = target or user
        serializer.instance = services.set_kill_switch(
            by=user,
            feed_id=feed.pk if feed else None,
            connection_id=connection.pk if connection else None,
            user_id=target.pk if target else None,
            **values,
        )

    @extend_schema(request=None, responses=KillSwitchSerializer)
    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: str) -> Response:
        """Release the halt; other halts still apply."""
        services.release_kill_switch(self.get_object().pk, by=caller(request))
        return Response(self.get_serializer(self.get_object()).data)
