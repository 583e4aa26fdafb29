"""The execution log over HTTP."""

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework import viewsets

from common.filters import MomentFilter
from connections.api.connections import own_connections
from execution.api.serializers import (
    LogSerializer,
)
from execution.models import ExecutionLog
from users.api import caller


class LogFilter(filters.FilterSet):  # type: ignore[misc]  # it has no types
    order = filters.NumberFilter(field_name="order_id")
    signal = filters.NumberFilter(field_name="signal_id")
    connection = filters.UUIDFilter(field_name="connection_id")
    after = MomentFilter(field_name="at", lookup_expr="gte")
    before = MomentFilter(field_name="at", lookup_expr="lt")

    class Meta:
        model = ExecutionLog
        fields = ("code", "status")


class LogViewSet(viewsets.ReadOnlyModelViewSet[ExecutionLog]):
    """Each attempt and transition of your orders. Nothing in it is ever changed."""

    queryset = ExecutionLog.objects.none()
    serializer_class = LogSerializer
    lookup_value_regex = "[0-9]{1,18}"
    filterset_class = LogFilter
    ordering_fields = ("id",)

    def get_queryset(self) -> QuerySet[ExecutionLog]:
        user, rows = caller(self.request), ExecutionLog.objects.all()
        mine = own_connections(user).values("pk")
        return rows if user.is_operator else rows.filter(connection_id__in=mine)
