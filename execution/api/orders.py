"""Orders and positions over HTTP: reading them, and what their owner may do with them."""

from typing import Any

from django.db import transaction
from django.db.models import Case, Exists, OuterRef, Q, QuerySet, Value, When
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from common.errors import ConflictError, InvalidInputError
from common.filters import MomentFilter
from common.permissions import Right
from common.reason_codes import Code
from connections.api.connections import own_connections
from execution import services, tasks
from execution.api.serializers import (
    ChangeOrderSerializer,
    ChangePositionSerializer,
    CloseSerializer,
    ManyDoneSerializer,
    ManySerializer,
    OneOrderSerializer,
    OrderSerializer,
)
from execution.models import Order, Status
from execution.order_reasons import with_reason
from positions.api import PositionFilter, PositionSerializer
from positions.models import ExecutionPosition
from positions.selectors import with_prices
from users.api import caller
from users.models import User


def orders_for(user: User) -> QuerySet[Order]:
    """Return the orders of one's own accounts (all for operators), with whether the position that
    each opened or helped to close is closed."""
    opened = ExecutionPosition.objects.filter(
        connection_id=OuterRef("connection_id"),
        signal_id=OuterRef("signal_id"),
        closed_at__isnull=False,
    )
    closed = Q(position__closed_at__isnull=False) | Q(Exists(opened))
    rows = Order.objects.select_related("connection").annotate(
        position_closed=Case(When(closed, then=Value(True)), default=Value(False))
    )
    mine = own_connections(user).values("pk")
    return rows if user.is_operator else rows.filter(connection__in=mine)


def positions_for(user: User) -> QuerySet[ExecutionPosition]:
    """Return the positions of one's own accounts (all for operators)."""
    rows = ExecutionPosition.objects.select_related("connection")
    mine = own_connections(user).values("pk")
    return rows if user.is_operator else rows.filter(connection__in=mine)


def _picked(rows: QuerySet[Any], request: Request) -> QuerySet[Any]:
    """Narrow to what the body says. An operator's slip must not end everybody's trades."""
    wanted = ManySerializer(data=request.data)
    wanted.is_valid(raise_exception=True)
    said = wanted.validated_data
    if caller(request).is_operator and not (
        said["all"] or "connection" in said or "signal" in said
    ):
        detail = "An operator names a connection or a signal, or says all: true."
        raise InvalidInputError(Code.FIELD_REQUIRED, detail, field="all")
    if "connection" in said:
        rows = rows.filter(connection_id=said["connection"])
    if "signal" in said:
        rows = rows.filter(signal_id=said["signal"])
    return rows


class OrderFilter(filters.FilterSet):  # type: ignore[misc]  # it has no types
    status = filters.MultipleChoiceFilter(choices=Status.choices)
    done = filters.BooleanFilter(field_name="done_at", lookup_expr="isnull", exclude=True)
    reason = filters.CharFilter(method="only_reason", label="The code that `reason` states.")
    entry = filters.BooleanFilter(method="only_entries", label="Entries, or exits.")
    created_after = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = Order
        fields = ("signal", "connection", "position", "pair", "side")

    def only_reason(self, queryset: Any, _name: str, value: str) -> Any:
        return with_reason(queryset, value)

    def only_entries(self, queryset: Any, _name: str, value: bool) -> Any:
        return queryset.entries() if value else queryset.exits()


class OrderViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Order]
):
    """What became of each signal on each of your accounts, with the reason."""

    queryset = Order.objects.none()
    serializer_class = OrderSerializer
    lookup_value_regex = "[0-9]{1,18}"
    filterset_class = OrderFilter
    rights = {
        **dict.fromkeys(("partial_update", "cancel", "cancel_all"), Right.TRADE),
        "retry": Right.RETRY,
    }
    ordering_fields = ("id", "created_at")

    def get_queryset(self) -> QuerySet[Order]:
        return orders_for(caller(self.request))

    @extend_schema(responses=OneOrderSerializer)
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One order, with its executions."""
        return self._show()

    @extend_schema(request=ChangeOrderSerializer, responses=OneOrderSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Move stop loss and take profit of what the order opened, or cancel it."""
        order = self.get_object()
        wanted = ChangeOrderSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        if "status" in wanted.validated_data:
            services.cancel_order(order.pk, by=caller(request))
            tasks.enqueue_pending_actions_on_commit()
        else:
            _move(_position_of(order), wanted.validated_data, caller(request))
        return self._show()

    @extend_schema(request=None, responses=OneOrderSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Cancel what is not filled yet. Where the broker has it, the broker is asked."""
        services.cancel_order(self.get_object().pk, by=caller(request))
        tasks.enqueue_pending_actions_on_commit()
        return self._show()

    @extend_schema(request=None, responses=OneOrderSerializer)
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Try a FAILED order once more: it was proven not to be sent. For operators."""
        order = self.get_object()
        order_id = services.retry_order(order.pk, by=caller(request))
        tasks.enqueue_on_commit([order_id])
        return self._show()

    @extend_schema(request=ManySerializer, responses=ManyDoneSerializer, filters=False)
    @action(detail=False, methods=["post"], url_path="cancel-all")
    def cancel_all(self, request: Request) -> Response:
        """Cancel all your entries that are not filled yet. Stops and targets stay."""
        live = _picked(Order.objects.entries().filter(done_at=None, pending_action=""), request)
        mine = orders_for(caller(request)).filter(pk__in=live.values("pk"))
        ids = mine.order_by("pk").values_list("pk", flat=True)
        asked = services.cancel_orders(ids, by=caller(request))
        tasks.enqueue_pending_actions_on_commit()
        return Response({"ids": asked, "count": len(asked)})

    def _show(self) -> Response:
        return Response(
            OneOrderSerializer(self.get_object(), context=self.get_serializer_context()).data
        )


def _position_of(order: Order) -> ExecutionPosition:
    position = order.position
    if position is None:
        position = ExecutionPosition.objects.filter(
            connection=order.connection_id, signal=order.signal_id
        ).first()
    if position is None or not position.is_open:
        detail = "It has no open position whose levels could be moved."
        raise ConflictError(Code.STATE_CONFLICT, detail)
    return position


def _move(position: ExecutionPosition, said: dict[str, Any], user: User) -> None:
    with transaction.atomic():
        rows = ExecutionPosition.objects.select_for_update(no_key=True)
        now = rows.get(pk=position.pk)  # a level that is not sent stays as it is now
        services.modify_position(
            position.pk,
            stop_loss=said.get("stop_loss", now.sl),
            take_profit=said.get("take_profit", now.tp),
            by=user,
        )
    tasks.enqueue_pending_actions_on_commit()


class PositionViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[ExecutionPosition]
):
    """What is open on your accounts, at present prices, and what was."""

    queryset = ExecutionPosition.objects.none()
    serializer_class = PositionSerializer
    lookup_value_regex = "[0-9]{1,18}"
    filterset_class = PositionFilter
    rights = dict.fromkeys(("partial_update", "close", "close_all"), Right.TRADE)
    ordering_fields = ("id", "opened_at")

    def get_queryset(self) -> QuerySet[ExecutionPosition]:
        return with_prices(positions_for(caller(self.request)))

    @extend_schema(request=ChangePositionSerializer, responses=PositionSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Move stop loss and take profit."""
        position = self.get_object()
        wanted = ChangePositionSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        _move(position, wanted.validated_data, caller(request))
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=CloseSerializer, responses={202: OrderSerializer})
    @action(detail=True, methods=["post"])
    def close(self, request: Request, pk: str) -> Response:
        """Close it, or a share of what was opened; returns the exit order."""
        position = self.get_object()
        wanted = CloseSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        order_id = services.close_position(position.pk, by=caller(request), **wanted.validated_data)
        if order_id is None:
            raise ConflictError(Code.NOTHING_TO_CLOSE)
        tasks.enqueue_on_commit([order_id], queue=tasks.EXITS)
        order = orders_for(caller(request)).get(pk=order_id)
        shown = OrderSerializer(order, context=self.get_serializer_context()).data
        return Response(shown, status=status.HTTP_202_ACCEPTED)

    @extend_schema(request=ManySerializer, responses={202: ManyDoneSerializer}, filters=False)
    @action(detail=False, methods=["post"], url_path="close-all")
    def close_all(self, request: Request) -> Response:
        """Close all your open positions; returns the ids of the exit orders."""
        open_ones = _picked(positions_for(caller(request)).open(), request)  # type: ignore[attr-defined]
        position_ids = list(open_ones.values_list("pk", flat=True))
        ids = services.close_positions(position_ids, by=caller(request))
        tasks.enqueue_on_commit(ids, queue=tasks.EXITS)
        return Response({"ids": ids, "count": len(ids)}, status=status.HTTP_202_ACCEPTED)
