"""The journal of execution and the drift inbox over HTTP."""

from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework import viewsets

from connections.api import own_connections
from execution.models import DriftItem, ExecutionLog
from execution.serializers import DriftSerializer, LogSerializer
from users.api import caller


class LogFilter(filters.FilterSet):  # type: ignore[misc]  # it has no types
    order = filters.NumberFilter(field_name="order_id")
    signal = filters.NumberFilter(field_name="signal_id")
    connection = filters.UUIDFilter(field_name="connection_id")
    after = filters.IsoDateTimeFilter(field_name="at", lookup_expr="gte")
    before = filters.IsoDateTimeFilter(field_name="at", lookup_expr="lt")

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


class DriftFilter(filters.FilterSet):  # type: ignore[misc]  # it has no types
    class Meta:
        model = DriftItem
        fields = ("kind", "state", "connection")


class DriftViewSet(viewsets.ReadOnlyModelViewSet[DriftItem]):
    """Differences between us and your brokers, with their evidence."""

    queryset = DriftItem.objects.none()
    serializer_class = DriftSerializer
    lookup_value_regex = "[0-9]{1,18}"
    filterset_class = DriftFilter
    ordering_fields = ("id",)

    def get_queryset(self) -> QuerySet[DriftItem]:
        user, rows = caller(self.request), DriftItem.objects.select_related("connection")
        mine: Any = own_connections(user).values("pk")
        return rows if user.is_operator else rows.filter(connection__in=mine)
