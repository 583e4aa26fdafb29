"""The drift inbox over HTTP."""

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from common.api_fields import StrictSerializer
from common.permissions import Right
from connections.api.connections import own_connections
from execution import tasks
from execution.api.serializers import (
    AdoptSerializer,
    CompareDoneSerializer,
    CompareSerializer,
    DriftSerializer,
    IgnoreSerializer,
    RelinkSerializer,
)
from execution.base import reconciliation_requests
from execution.models import DriftItem
from execution.reconciliation import decisions as drift_decisions
from execution.reconciliation.adopt import Levels
from execution.reconciliation.effects import Decided
from users.api import caller


class DriftFilter(filters.FilterSet):  # type: ignore[misc]  # it has no types
    class Meta:
        model = DriftItem
        fields = ("kind", "state", "connection")


class DriftViewSet(viewsets.ReadOnlyModelViewSet[DriftItem]):
    """Differences between us and your brokers, with their evidence, and what you decide about them.

    `actions` of an item says what fits it. A decision is carried out at once; what it sends to a
    broker goes the normal way of an exit, a cancel or a moved level.
    """

    queryset = DriftItem.objects.none()
    serializer_class = DriftSerializer
    lookup_value_regex = "[0-9]{1,18}"
    filterset_class = DriftFilter
    rights = dict.fromkeys(("adopt", "relink", "close", "ignore", "compare"), Right.RECONCILE)
    ordering_fields = ("id",)

    def get_queryset(self) -> QuerySet[DriftItem]:
        user, rows = caller(self.request), DriftItem.objects.select_related("connection")
        mine: Any = own_connections(user).values("pk")
        return rows if user.is_operator else rows.filter(connection__in=mine)

    @extend_schema(request=AdoptSerializer, responses=DriftSerializer)
    @action(detail=True, methods=["post"])
    def adopt(self, request: Request, pk: str) -> Response:
        """Take the broker's side over: what it holds becomes a trade of yours, or its quantity,
        levels or price become ours."""
        item, said = self.get_object(), _validated(AdoptSerializer, request)
        return self._decided(
            drift_decisions.adopt(item.pk, by=caller(request), levels=Levels(**said))
        )

    @extend_schema(request=RelinkSerializer, responses=DriftSerializer)
    @action(detail=True, methods=["post"])
    def relink(self, request: Request, pk: str) -> Response:
        """Say which order or position of yours it really is. Of levels that differ: ours hold, and
        the broker is told them again."""
        item, said = self.get_object(), _validated(RelinkSerializer, request)
        return self._decided(
            drift_decisions.relink(
                item.pk,
                by=caller(request),
                order_id=said.get("order"),
                position_id=said.get("position"),
            )
        )

    @extend_schema(request=None, responses=DriftSerializer)
    @action(detail=True, methods=["post"])
    def close(self, request: Request, pk: str) -> Response:
        """End it: what the broker holds is closed or cancelled there, what only we hold here."""
        return self._decided(drift_decisions.close(self.get_object().pk, by=caller(request)))

    @extend_schema(request=IgnoreSerializer, responses=DriftSerializer)
    @action(detail=True, methods=["post"])
    def ignore(self, request: Request, pk: str) -> Response:
        """Leave it as it is, with a reason, until it changes."""
        item, said = self.get_object(), _validated(IgnoreSerializer, request)
        return self._decided(drift_decisions.ignore(item.pk, by=caller(request), **said))

    @extend_schema(request=CompareSerializer, responses={202: CompareDoneSerializer}, filters=False)
    @action(detail=False, methods=["post"])
    def compare(self, request: Request) -> Response:
        """Have your connections, or one of them, compared with their brokers now."""
        said = _validated(CompareSerializer, request)
        mine = own_connections(caller(request)).filter(archived_at=None)
        if "connection" in said:
            mine = mine.filter(pk=said["connection"])
            if not mine.exists():
                raise Http404
        asked = reconciliation_requests.request_reconciliation(
            list(mine.values_list("pk", flat=True))
        )
        tasks.enqueue_reconciliation_on_commit()
        return Response({"count": asked}, status=status.HTTP_202_ACCEPTED)

    def _decided(self, decided: Decided) -> Response:
        tasks.enqueue_decided_on_commit(decided)
        return Response(self.get_serializer(decided.item).data)


def _validated(serializer: type[StrictSerializer], request: Request) -> dict[str, Any]:
    wanted = serializer(data=request.data)
    wanted.is_valid(raise_exception=True)
    return dict(wanted.validated_data)
