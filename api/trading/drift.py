"""REST API of the drift inbox."""

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from api.trading.drift_serializers import (
    AdoptSerializer,
    CompareDoneSerializer,
    CompareSerializer,
    DriftSerializer,
    IgnoreSerializer,
    RelinkSerializer,
)
from common.permissions import Right
from common.web.api_fields import validated_body
from common.web.api_views import ObjectView
from connections.api.connections import own_connections
from execution import tasks
from execution.base import reconciliation_requests
from execution.models import DriftItem
from execution.reconciliation import decisions as drift_decisions
from execution.reconciliation.adopt import Levels
from execution.reconciliation.effects import Decided
from users.api import caller


class DriftFilter(filters.FilterSet):  # type: ignore[misc]  # it has no types
    """Filters of the drift inbox."""

    class Meta:
        model = DriftItem
        fields = ("kind", "state", "connection")


class DriftViewSet(ObjectView, viewsets.ReadOnlyModelViewSet[DriftItem]):
    """Differences between our rows and your brokers, with their evidence and decisions.

    An item's `actions` lists the decisions that are possible. A decision takes effect at once. What
    it sends to a broker is an exit, a cancel or a level change like any other.
    """

    queryset = DriftItem.objects.none()
    serializer_class = DriftSerializer
    lookup_value_regex = "[0-9]{1,18}"
    filterset_class = DriftFilter
    rights = dict.fromkeys(("adopt", "relink", "close", "ignore", "compare"), Right.RECONCILE)
    ordering_fields = ("id",)

    def get_queryset(self) -> QuerySet[DriftItem]:
        """Return the caller's items; all of them for operators."""
        user, rows = caller(self.request), DriftItem.objects.select_related("connection")
        mine: Any = own_connections(user).values("pk")
        return rows if user.is_operator else rows.filter(connection__in=mine)

    @extend_schema(request=AdoptSerializer, responses=DriftSerializer)
    @action(detail=True, methods=["post"])
    def adopt(self, request: Request, pk: str) -> Response:
        """Take over the broker's state: what it holds becomes a trade of yours, or its quantity,
        levels or price replace ours."""
        item, data = self.get_object(), validated_body(AdoptSerializer, request)
        return self._decided(
            drift_decisions.adopt(item.pk, by=caller(request), levels=Levels(**data))
        )

    @extend_schema(request=RelinkSerializer, responses=DriftSerializer)
    @action(detail=True, methods=["post"])
    def relink(self, request: Request, pk: str) -> Response:
        """Attach it to one of your orders or positions. If levels differ, keep ours and send them
        to the broker again."""
        item, data = self.get_object(), validated_body(RelinkSerializer, request)
        return self._decided(
            drift_decisions.relink(
                item.pk,
                by=caller(request),
                order_id=data.get("order"),
                position_id=data.get("position"),
            )
        )

    @extend_schema(request=None, responses=DriftSerializer)
    @action(detail=True, methods=["post"])
    def close(self, request: Request, pk: str) -> Response:
        """Close or cancel at the broker what it holds; close here what only we hold."""
        return self._decided(drift_decisions.close(self.get_object().pk, by=caller(request)))

    @extend_schema(request=IgnoreSerializer, responses=DriftSerializer)
    @action(detail=True, methods=["post"])
    def ignore(self, request: Request, pk: str) -> Response:
        """Ignore it, with a reason, until it changes."""
        item, data = self.get_object(), validated_body(IgnoreSerializer, request)
        return self._decided(drift_decisions.ignore(item.pk, by=caller(request), **data))

    @extend_schema(request=CompareSerializer, responses={202: CompareDoneSerializer}, filters=False)
    @action(detail=False, methods=["post"])
    def compare(self, request: Request) -> Response:
        """Compare your connections, or one of them, with their brokers now."""
        data = validated_body(CompareSerializer, request)
        mine = own_connections(caller(request)).filter(archived_at=None)
        if "connection" in data:
            mine = mine.filter(pk=data["connection"])
            if not mine.exists():
                raise Http404
        requested = reconciliation_requests.request_reconciliation(
            list(mine.values_list("pk", flat=True))
        )
        tasks.enqueue_reconciliation_on_commit()
        return Response({"count": requested}, status=status.HTTP_202_ACCEPTED)

    def _decided(self, decided: Decided) -> Response:
        tasks.enqueue_decided_on_commit(decided)
        return Response(self.get_serializer(decided.item).data)
