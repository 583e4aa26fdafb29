"""REST views of loss limits, their pauses, and deposits and withdrawals."""

from collections.abc import Collection
from typing import Any

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from common.permissions import Right
from common.reason_codes import Code
from common.web.api_fields import Amount, StrictModelSerializer, UtcDateTime, invalid
from common.web.api_views import ObjectView
from connections import services
from connections.api.connections import RelatedRowsMixin, own_connections, usable_rows
from connections.api.serializers import OwnRowField
from connections.models import (
    CashFlow,
    ExecutionConnection,
    LossLimit,
    Subscription,
    TradingPause,
    TradingPreset,
)
from users.api import caller

DIGITS = "[0-9]{1,18}"


class LossLimitSerializer(StrictModelSerializer[LossLimit]):
    """A loss at which entries are paused. docs/loss-limits.md explains each field."""

    preset = OwnRowField(model=TradingPreset, required=False, allow_null=True)
    subscription = OwnRowField(model=Subscription, required=False, allow_null=True)
    maximum = Amount(positive=True, help_text="The limit is reached at this value.")
    started_at = UtcDateTime(required=False, allow_null=True)
    name = serializers.CharField(read_only=True)

    class Meta:
        model = LossLimit
        fields = (
            "id", "preset", "subscription", "name", "window", "measure", "basis", "maximum", "unit",
            "action", "resume", "started_at", "created_at",
        )  # fmt: skip
        read_only_fields = ("created_at",)
        validators: list[Any] = []  # the rules of the row have our texts

    row_rules = True

    def faults_together(self, values: dict[str, Any], failed: Collection[str]) -> dict[str, Any]:
        """Return the faults of the row, and changes of the preset or subscription."""
        fixed = ("preset", "subscription") if self.instance is not None else ()
        changed = {
            name: invalid(Code.FIELD_UNKNOWN, "It cannot be changed.").detail
            for name in fixed
            if name in values
        }
        kept = {name: value for name, value in values.items() if name not in changed}
        return changed | super().faults_together(kept, failed)


class LossLimitViewSet(
    mixins.CreateModelMixin,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    mixins.DestroyModelMixin,
    RelatedRowsMixin[LossLimit],
):
    """Loss limits of your presets and subscriptions, and of the operators' presets.

    A limit of a preset applies to every account with it. One of a subscription pauses only its
    feed, and may only be tighter than the preset's.
    """

    queryset = LossLimit.objects.none()
    serializer_class = LossLimitSerializer
    lookup_value_regex = DIGITS
    rights = dict.fromkeys(("create", "partial_update", "destroy"), Right.LIMITS)
    filterset_fields = ("preset", "subscription", "window", "measure")
    ordering_fields = ("id",)
    http_method_names = ("get", "post", "patch", "delete", "head", "options")

    def get_queryset(self) -> QuerySet[LossLimit]:
        """Return the limits that the caller may see, or change, by the request's method."""
        user = caller(self.request)
        mine = Q(subscription__connection__in=own_connections(user).values("pk"))
        if self.request.method in ("GET", "HEAD", "OPTIONS") or user.is_operator:
            presets = Q(preset__in=usable_rows(TradingPreset, user).values("pk"))
        else:
            presets = Q(preset__user=user)
        return LossLimit.objects.filter(mine | presets)

    def perform_create(self, serializer: serializers.BaseSerializer[LossLimit]) -> None:
        """Add the limit."""
        limit = LossLimit(**serializer.validated_data)
        serializer.instance = services.add_loss_limit(limit, by=caller(self.request))

    def perform_update(self, serializer: serializers.BaseSerializer[LossLimit]) -> None:
        """Change the limit."""
        row = self.get_object()
        serializer.instance = services.change_loss_limit(
            row.pk, by=caller(self.request), **serializer.validated_data
        )

    def perform_destroy(self, instance: LossLimit) -> None:
        """Delete the limit."""
        services.delete_loss_limit(instance.pk, by=caller(self.request))


class TradingPauseSerializer(StrictModelSerializer[TradingPause]):
    """A pause of entries that a loss limit caused. Times are market time."""

    ended_by = serializers.CharField(source="ended_by.username", read_only=True, allow_null=True)

    class Meta:
        model = TradingPause
        fields = (
            "id", "connection", "subscription", "limit", "code", "name", "value", "maximum", "unit",
            "detail", "action", "since", "until", "ended_at", "ended_by", "is_resumed_by_hand",
        )  # fmt: skip
        read_only_fields = fields


class TradingPauseViewSet(ObjectView, viewsets.ReadOnlyModelViewSet[TradingPause]):
    """Pauses of your accounts that loss limits caused, the newest first. Exits go on."""

    queryset = TradingPause.objects.none()
    serializer_class = TradingPauseSerializer
    lookup_value_regex = DIGITS
    rights = {"resume": Right.LIMITS}
    filterset_fields = {"connection": ["exact"], "code": ["exact"], "ended_at": ["isnull"]}
    ordering_fields = ("id",)

    def get_queryset(self) -> QuerySet[TradingPause]:
        """Return the pauses of the caller's accounts; for operators, all."""
        mine = own_connections(caller(self.request)).values("pk")
        return TradingPause.objects.select_related("ended_by").filter(connection__in=mine)

    @extend_schema(request=None, responses=TradingPauseSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """Resume entries now. Losses up to now no longer count for this limit."""
        services.resume_after_limit(self.get_object().pk, by=caller(request))
        return Response(self.get_serializer(self.get_object()).data)


class CashFlowSerializer(StrictModelSerializer[CashFlow]):
    """A deposit (amount above 0) or a withdrawal, in the account's currency."""

    connection = OwnRowField(model=ExecutionConnection)
    at = UtcDateTime(required=False, help_text="When the balance changed; default: now.")

    class Meta:
        model = CashFlow
        fields = ("id", "connection", "at", "amount", "origin", "reference", "note", "created_at")
        read_only_fields = ("origin", "reference", "created_at")

    row_rules = True


class CashFlowViewSet(
    mixins.CreateModelMixin,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    RelatedRowsMixin[CashFlow],
):
    """Deposits and withdrawals of your accounts. Loss limits leave them out.

    Add those that the broker does not report. To correct one, add its opposite.
    """

    queryset = CashFlow.objects.none()
    serializer_class = CashFlowSerializer
    lookup_value_regex = DIGITS
    rights = {"create": Right.LIMITS}
    filterset_fields = ("connection", "origin")
    ordering_fields = ("id", "at")

    def get_queryset(self) -> QuerySet[CashFlow]:
        """Return those of the caller's accounts; for operators, all."""
        mine = own_connections(caller(self.request)).values("pk")
        return CashFlow.objects.filter(connection__in=mine)

    def perform_create(self, serializer: serializers.BaseSerializer[CashFlow]) -> None:
        """Record the deposit or withdrawal."""
        values: dict[str, Any] = dict(serializer.validated_data)
        serializer.instance = services.record_cash_flow(
            values.pop("connection").pk, by=caller(self.request), **values
        )
