"""REST API of orders and positions."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.db.models import Case, OuterRef, Q, QuerySet, Subquery, Value, When
from django.http import Http404
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.orders.archived import refuse_archived
from analytics.orders.figures import with_figures
from analytics.orders.reasons import with_reason
from analytics.orders.scoped_results import positions_of_exits
from analytics.what_if.position_outlook import with_first_stop
from api.trading.action_serializers import (
    BreakEvenSerializer,
    ChangeOrderSerializer,
    ChangePositionSerializer,
    CloseSerializer,
    HaltImpactSerializer,
    ManyDoneSerializer,
    ManySerializer,
    TrailingSerializer,
)
from api.trading.order_changes import apply_change, change_levels
from api.trading.order_serializers import OneOrderSerializer, OrderSerializer
from api.trading.scopes import read_scope
from common.db.newest_rows import NewestRows, Row
from common.errors import ConflictError
from common.permissions import Right
from common.reason_codes import Code
from common.web.api_fields import validated_body
from common.web.api_views import ObjectView
from common.web.filters import MomentFilter
from common.web.idempotency import REPEATABLE, idempotency_key
from connections.api.connections import own_connections, visible_connections
from execution import services, tasks
from execution.models import NOT_ENDED, Order, Status
from execution.scoped.actions import (
    ActionRequest,
    ActionScope,
    carry_out,
    entry_ids,
    position_ids,
    scope_impact,
)
from positions.api import (
    WITH_CURRENCY,
    WITH_FIRST_STOP,
    WITH_PRICE,
    PositionFilter,
    PositionSerializer,
)
from positions.models import ExecutionPosition
from positions.owner_rules import Trailing
from positions.selectors import with_prices
from users.api import caller
from users.models import User


def own_orders(user: User) -> QuerySet[Order]:
    """Return the orders of the user's accounts; all of them for operators."""
    rows = Order.objects.select_related("connection", "signal", "trigger")
    mine = own_connections(user).values("pk")
    return rows if user.is_operator else rows.filter(connection__in=mine)


def orders_for(user: User) -> QuerySet[Order]:
    """Return the same with the figures of denials, and `position_closed`."""
    return with_position_closed(with_figures(own_orders(user)))


def with_position_closed(orders: QuerySet[Order]) -> QuerySet[Order]:
    """Add whether the position that an order opened or helped to close is closed."""
    opened = ExecutionPosition.objects.filter(
        connection_id=OuterRef("connection_id"),
        signal_id=OuterRef("signal_id"),
        entry_leg=OuterRef("position_leg"),
        closed_at__isnull=False,
    )
    # Not Exists: for many orders the planner would read all closed positions of all tenants.
    own = Subquery(opened.values("pk")[:1])
    closed = Q(position__closed_at__isnull=False) | Q(closed_position__isnull=False)
    return orders.alias(closed_position=own).annotate(
        position_closed=Case(When(closed, then=Value(True)), default=Value(False))
    )


def positions_for(user: User) -> QuerySet[ExecutionPosition]:
    """Return the positions of the user's accounts; all of them for operators."""
    rows = ExecutionPosition.objects.select_related("connection", "stop_rule")
    mine = own_connections(user).values("pk")
    return rows if user.is_operator else rows.filter(connection__in=mine)


def _dry_run(ids: Sequence[int], scope: ActionScope, user: User) -> Response:
    impact = HaltImpactSerializer(asdict(scope_impact(scope, by=user))).data
    return Response({"ids": ids, "count": len(ids), "dry_run": True, "impact": impact})


def _done(ids: Sequence[int]) -> dict[str, Any]:
    return {"ids": ids, "count": len(ids), "dry_run": False}


class OfAccounts:
    """A list whose rows belong to accounts: each account's are found by index."""

    request: Any  # the view has it

    def newest_rows(self, rows: QuerySet[Row]) -> QuerySet[Row] | NewestRows[Row]:
        """Return a page's rows; operators see those of all accounts."""
        user = caller(self.request)
        if user.is_operator:
            return rows
        return NewestRows(rows, visible_connections(user), "connection")


class OrderFilter(filters.FilterSet):  # type: ignore[misc]  # it has no types
    """Filters of orders."""

    status = filters.MultipleChoiceFilter(choices=Status.choices)
    done = filters.BooleanFilter(field_name="done_at", lookup_expr="isnull", exclude=True)
    working = filters.BooleanFilter(
        method="only_working", label="True: orders that wait, or may still fill."
    )
    feed = filters.CharFilter(field_name="signal__feed__slug", label="The feed's slug.")
    reason = filters.CharFilter(method="only_reason", label="The code that `reason` states.")
    entry = filters.BooleanFilter(method="only_entries", label="Entries, or exits.")
    aggregate_id = filters.NumberFilter(label="Those that were sent as one order.")
    created_after = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = Order
        fields = ("signal", "connection", "position", "pair", "side")

    def only_working(self, queryset: Any, _name: str, value: bool) -> Any:
        """Keep orders that have not ended, or those that have."""
        return queryset.filter(NOT_ENDED) if value else queryset.exclude(NOT_ENDED)

    def only_reason(self, queryset: Any, _name: str, value: str) -> Any:
        """Keep orders whose `reason` has this code."""
        return with_reason(queryset, value)

    def only_entries(self, queryset: Any, _name: str, value: bool) -> Any:
        """Keep entries, or exits."""
        return queryset.entries() if value else queryset.exits()


class OrderViewSet(
    ObjectView,
    OfAccounts,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    viewsets.GenericViewSet[Order],
):
    """The orders of your accounts: one for each signal and account, and their exits.

    Entries that ended without a fill years ago may be in the operators' archive. No list has them;
    one by its number is 404 ORDER_ARCHIVED.
    """

    queryset = Order.objects.none()
    serializer_class = OrderSerializer
    own_keys = frozenset({"cancel_all"})
    lookup_value_regex = "[0-9]{1,18}"
    filterset_class = OrderFilter
    rights = {
        **dict.fromkeys(("partial_update", "cancel", "cancel_all"), Right.TRADE),
        "retry": Right.RETRY,
    }
    ordering_fields = ("id", "created_at")

    def get_queryset(self) -> QuerySet[Order]:
        """Return the caller's orders; all of them for operators."""
        # Always true; a list of the pending ones of all accounts is found by `order_pending`.
        orders = own_orders(caller(self.request)).filter(id__gt=0)
        if self.asks_for("reason"):
            orders = with_figures(orders)
        return with_position_closed(orders) if self.asks_for("lifecycle") else orders

    def get_object(self) -> Order:
        """Return the order. Raises FillcastError ORDER_ARCHIVED if it is in the archive."""
        try:
            return super().get_object()
        except Http404:
            refuse_archived(caller(self.request), int(self.kwargs["pk"]))
            raise

    def lock_for_change(self, row: Order) -> None:
        """Lock the position of an exit first, as the services do."""
        if row.position is not None:
            super().lock_for_change(row.position)
        super().lock_for_change(row)

    @extend_schema(responses=OneOrderSerializer)
    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Return one order, with its executions."""
        return self._response()

    @extend_schema(request=ChangeOrderSerializer, responses=OneOrderSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change an entry's price, quantity or levels, or those of its position, or cancel it.

        Price and quantity: an order that its broker does not have yet is changed at once. One that
        works at its broker is changed there, and remains the same order: `change` has the state,
        and the order's own values are what the broker has. While the change is open, `quantity` is
        the larger one. A change that raises the risk is checked against the limits of an entry.

        Stop loss and take profit: of the open position, and of that which an entry will open. They
        count at once, instead of the signal's, until a MODIFY sets others.
        """
        order = self.get_object()
        data = validated_body(ChangeOrderSerializer, request, order=order)
        if "status" in data:
            services.cancel_order(order.pk, by=caller(request))
        else:
            apply_change(order, data, by=caller(request))
        tasks.enqueue_pending_actions_on_commit()
        return self._response()

    @extend_schema(request=None, responses=OneOrderSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Cancel what has not filled. If the broker has the order, we request its cancellation.

        The other leg of an OCO pair of which none has fired, and other slices of the entry, are
        cancelled with it.
        """
        services.cancel_order(self.get_object().pk, by=caller(request))
        tasks.enqueue_pending_actions_on_commit()
        return self._response()

    @extend_schema(request=None, responses=OneOrderSerializer)
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Send a FAILED order again, which was proven not to be sent. For operators."""
        order = self.get_object()
        order_id = services.retry_order(order.pk, by=caller(request))
        tasks.enqueue_on_commit([order_id])
        return self._response()

    @extend_schema(
        request=ManySerializer,
        responses=ManyDoneSerializer,
        parameters=[REPEATABLE],
        filters=False,
    )
    @action(detail=False, methods=["post"], url_path="cancel-all")
    def cancel_all(self, request: Request) -> Response:
        """Cancel all your entries that have not filled. Stops and targets stay."""
        data, user = validated_body(ManySerializer, request), caller(request)
        key, scope = idempotency_key(request), read_scope(data, user)
        if data["dry_run"]:
            return _dry_run(entry_ids(scope, by=user), scope, user)
        done = carry_out(ActionRequest(scope, cancels_entries=True, request_id=key), by=user)
        tasks.enqueue_pending_actions_on_commit()
        return Response(_done(done.cancelled))

    def _response(self) -> Response:
        context = self.get_serializer_context()
        return Response(self.sparse(OneOrderSerializer(self.get_object(), context=context)).data)


class PositionViewSet(
    ObjectView,
    OfAccounts,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    viewsets.GenericViewSet[ExecutionPosition],
):
    """The positions of your accounts, open ones at current prices, and closed ones."""

    queryset = ExecutionPosition.objects.none()
    serializer_class = PositionSerializer
    own_keys = frozenset({"close_all"})
    moving = frozenset(
        {
            *WITH_PRICE, "unprotected_seconds", "water_mark", "water_mark_at", "atr",
            "waits_for_atr", "resumes_beyond",
        }
    )  # fmt: skip
    lookup_value_regex = "[0-9]{1,18}"
    filterset_class = PositionFilter
    rights = dict.fromkeys(
        ("partial_update", "break_even", "trailing", "end_trailing", "close", "close_all"),
        Right.TRADE,
    )
    ordering_fields = ("id", "opened_at")

    def get_queryset(self) -> QuerySet[ExecutionPosition]:
        """Return the caller's positions with prices; all of them for operators."""
        positions = positions_for(caller(self.request))
        if self.asks_for(*WITH_FIRST_STOP):
            positions = with_first_stop(positions)
        if self.asks_for(*WITH_CURRENCY):
            positions = positions.select_related("connection__snapshot")
        return with_prices(positions) if self.asks_for(*WITH_PRICE) else positions

    @extend_schema(request=ChangePositionSerializer, responses=PositionSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change stop loss and take profit."""
        position = self.get_object()
        levels = validated_body(ChangePositionSerializer, request, position=position)
        change_levels(position, levels, by=caller(request))
        tasks.enqueue_pending_actions_on_commit()
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=BreakEvenSerializer, responses=PositionSerializer)
    @action(detail=True, methods=["post"], url_path="break-even")
    def break_even(self, request: Request, pk: str) -> Response:
        """Move the stop to the entry price, once. The target stays.

        Refused while the price is not beyond it, and if the stop is there already or better.
        """
        position, data = self.get_object(), validated_body(BreakEvenSerializer, request)
        services.move_to_break_even(position.pk, by=caller(request), **data)
        tasks.enqueue_pending_actions_on_commit()
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=TrailingSerializer, responses=PositionSerializer)
    @action(detail=True, methods=["put"])
    def trailing(self, request: Request, pk: str) -> Response:
        """Let the stop trail from now on, in place of the rule that the position has.

        Its break-even rule stays. Prices from before do not count; the stop never moves back.
        """
        position, data = self.get_object(), validated_body(TrailingSerializer, request)
        services.set_trailing(position.pk, Trailing(**data), by=caller(request))
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=None, responses=PositionSerializer)
    @trailing.mapping.delete
    def end_trailing(self, request: Request, pk: str) -> Response:
        """Let the stop stay where it is. A break-even rule stays."""
        services.end_trailing(self.get_object().pk, by=caller(request))
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=CloseSerializer, responses={202: OrderSerializer})
    @action(detail=True, methods=["post"])
    def close(self, request: Request, pk: str) -> Response:
        """Close it, a fraction of what was opened, or a quantity; return the exit order.

        Above the broker's largest order the request has several orders, and this is the first.
        """
        position, data = self.get_object(), validated_body(CloseSerializer, request)
        order_ids = services.close_position(position.pk, by=caller(request), **data)
        if not order_ids:
            raise ConflictError(Code.NOTHING_TO_CLOSE)
        tasks.enqueue_on_commit(order_ids, queue=tasks.EXITS)
        order = orders_for(caller(request)).get(pk=order_ids[0])
        body = OrderSerializer(order, context=self.get_serializer_context()).data
        return Response(body, status=status.HTTP_202_ACCEPTED)

    @extend_schema(
        request=ManySerializer,
        responses={200: ManyDoneSerializer, 202: ManyDoneSerializer},
        parameters=[REPEATABLE],
        filters=False,
    )
    @action(detail=False, methods=["post"], url_path="close-all")
    def close_all(self, request: Request) -> Response:
        """Close all your open positions; return how many, and the ids of the exit orders.

        A position may have several of these. One that is being closed already is left out.
        """
        data, user = validated_body(ManySerializer, request), caller(request)
        key, scope = idempotency_key(request), read_scope(data, user)
        if data["dry_run"]:
            return _dry_run(position_ids(scope, by=user), scope, user)
        done = carry_out(ActionRequest(scope, closes_positions=True, request_id=key), by=user)
        tasks.enqueue_on_commit(done.exits, queue=tasks.EXITS)
        body = _done(done.exits) | {"count": positions_of_exits(done.exits)}
        return Response(body, status=status.HTTP_202_ACCEPTED)
