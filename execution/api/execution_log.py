"""REST API of the execution log."""

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework import viewsets

from common.filters import MomentFilter
from connections.api.connections import own_connections
from execution.api.serializers import LogSerializer
from execution.models import ExecutionLog
from users.api import caller


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


class LogViewSet(viewsets.ReadOnlyModelViewSet[ExecutionLog]):
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
