"""REST API of the execution log."""

from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers, viewsets

from api.trading.refusals import RefusalReason, refusal
from common.limit_figures import read_figures
from common.web.api_fields import StrictModelSerializer
from common.web.api_views import ObjectView
from common.web.filters import MomentFilter
from connections.api.connections import own_connections
from execution.models import ExecutionLog
from users.api import caller


class LogSerializer(StrictModelSerializer[ExecutionLog]):
    """One line of the append-only execution log."""

    reason = serializers.SerializerMethodField()

    class Meta:
        model = ExecutionLog
        fields = (
            "id",
            "at",
            "order_id",
            "signal_id",
            "connection_id",
            "status",
            "reason",
            "detail",
            "numbers",
        )
        read_only_fields = fields

    @extend_schema_field(RefusalReason(allow_null=True))
    def get_reason(self, line: ExecutionLog) -> dict[str, Any] | None:
        """Return the code, sentence and hint of the reason, with the figures of a denial."""
        return refusal(line.code, line.status, read_figures(line.code, line.numbers))


class LogFilter(filters.FilterSet):  # type: ignore[misc]  # it has no types
    """Filters of the execution log."""

    order = filters.NumberFilter(field_name="order_id")
    signal = filters.NumberFilter(field_name="signal_id")
    connection = filters.UUIDFilter(field_name="connection_id")
    after = MomentFilter(field_name="at", lookup_expr="gte")
    before = MomentFilter(field_name="at", lookup_expr="lt")

    class Meta:
        model = ExecutionLog
        fields = ("code", "status")


class LogViewSet(ObjectView, viewsets.ReadOnlyModelViewSet[ExecutionLog]):
    """Each attempt and change of status of your orders. Lines are never changed."""

    queryset = ExecutionLog.objects.none()
    serializer_class = LogSerializer
    lookup_value_regex = "[0-9]{1,18}"
    filterset_class = LogFilter
    ordering_fields = ("id",)

    def get_queryset(self) -> QuerySet[ExecutionLog]:
        """Return the caller's lines; all of them for operators."""
        user, rows = caller(self.request), ExecutionLog.objects.all()
        mine = own_connections(user).values("pk")
        return rows if user.is_operator else rows.filter(connection_id__in=mine)
