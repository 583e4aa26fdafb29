"""REST API of halts of trading."""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from api.trading.action_serializers import HaltImpactSerializer
from common.permissions import Right
from common.web.api_fields import StrictModelSerializer, error_details
from connections import services
from connections.api.connections import RelatedRowsMixin, own_connections
from connections.api.serializers import FeedBySlug, OwnRowField
from connections.models import ExecutionConnection, HaltMode, KillSwitch
from execution import tasks
from execution.services import halt_impact
from signals.selectors import feeds_for
from users.api import caller
from users.models import User

HALT_NAMES = ("feed_id", "user_id", "connection_id", "broker_type", "pair")


class KillSwitchSerializer(StrictModelSerializer[KillSwitch]):
    """A halt of trading. Released ones are history."""

    mode = serializers.ChoiceField(choices=HaltMode.choices)
    feed = FeedBySlug(required=False, allow_null=True)
    connection = OwnRowField(model=ExecutionConnection, required=False, allow_null=True)
    user = OwnRowField(model=User, required=False, allow_null=True, help_text="Default: yourself.")
    broker_type = serializers.CharField(
        required=False, allow_blank=True, max_length=20, help_text="Such as `mt5`. For operators."
    )
    pair = serializers.CharField(
        required=False, allow_blank=True, max_length=40,
        help_text="A symbol, written as in a signal. For operators.",
    )  # fmt: skip
    set_by = serializers.CharField(source="set_by.username", read_only=True, allow_null=True)
    epoch = serializers.IntegerField(
        source="epoch.number", read_only=True, allow_null=True, default=None,
        help_text="The database was restored, and this halt ends with that epoch. For operators.",
    )  # fmt: skip
    dry_run = serializers.BooleanField(
        required=False, write_only=True, default=False,
        help_text="Set nothing; return what the halt would touch now.",
    )  # fmt: skip

    class Meta:
        model = KillSwitch
        fields = (
            "id",
            "scope",
            "mode",
            "feed",
            "user",
            "connection",
            "broker_type",
            "pair",
            "reason",
            "cancel_entries",
            "flatten",
            "carried_out_at",
            "epoch",
            "set_by",
            "set_at",
            "released_at",
            "dry_run",
        )
        read_only_fields = ("carried_out_at", "set_at", "released_at")

    def faults_together(self, values: dict[str, Any], failed: Collection[str]) -> dict[str, Any]:
        """Return what does not fit the scope or the mode."""
        halt = _named(values, self.context["request"].user)
        names = ("scope", "mode", "flatten", *HALT_NAMES)
        judged = {name: halt[name] for name in names if name in halt}
        return error_details(services.halt_errors(**{"scope": None, "mode": None} | judged), failed)


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

    You may halt yourself and your connections, and the entries of your feeds (REDUCING); operators
    may halt everything, a broker type or a symbol, and of a feed its followers' exits, too. A halt
    applies from the response on. `cancel_entries` also cancels the entries that have not filled,
    `flatten` closes the open positions: both once, for what is there when the halt is set, and only
    on your own accounts (an API key needs the scope `trade`). A halt that you have set already is
    returned, with its reason, and one release ends it for all your programs; one whose options
    were carried out is replaced. `dry_run` sets nothing and returns what the halt would touch.
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
        mine = own_connections(user)
        concern = Q(scope__in=(KillSwitch.Scope.ALL, KillSwitch.Scope.SYMBOL)) | Q(user=user)
        concern |= Q(connection__in=mine.values("pk"))
        concern |= Q(scope=KillSwitch.Scope.BROKER_TYPE, broker_type__in=mine.values("type"))
        return rows.filter(concern | Q(feed__in=feeds_for(user).values("pk")))

    @extend_schema(
        responses={
            201: KillSwitchSerializer,
            200: OpenApiResponse(HaltImpactSerializer, "With `dry_run`: what it would touch."),
        }
    )
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Set the halt; with `dry_run`, only return what it would touch."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        values = _named(serializer.validated_data, caller(request))
        if values.pop("dry_run"):
            target = services.halt_target(by=caller(request), **values)
            return Response(HaltImpactSerializer(asdict(halt_impact(target))).data)
        switch = services.set_kill_switch(by=caller(request), **values)
        tasks.enqueue_halt_actions_on_commit(switch)
        return Response(self.get_serializer(switch).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses=KillSwitchSerializer)
    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: str) -> Response:
        """Release the halt; other halts still apply."""
        services.release_kill_switch(self.get_object().pk, by=caller(request))
        return Response(self.get_serializer(self.get_object()).data)


def _named(values: Mapping[str, Any], user: User) -> dict[str, Any]:
    """Return the values with the ids of the rows that they name."""
    feed, connection, halted = (values.get(name) for name in ("feed", "connection", "user"))
    if values.get("scope") == KillSwitch.Scope.USER:
        halted = halted or user
    others = {name: values[name] for name in values if name not in ("feed", "connection", "user")}
    return {
        **others,
        "feed_id": feed.pk if feed else None,
        "connection_id": connection.pk if connection else None,
        "user_id": halted.pk if halted else None,
    }
