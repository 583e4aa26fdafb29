"""REST API of paper twins: run one beside a subscription, compare, stop it."""

from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.compare.twin_parts import PARTS
from analytics.compare.twins import ComparedSignal, Comparison, Side, compare, csv_rows, twins_of
from analytics.streams import FORMAT, STREAMED, is_streamed, stream, streamed
from common.permissions import Right
from common.web.api_fields import Amount, StrictModelSerializer, StrictSerializer
from common.web.api_parameters import check_parameters
from common.web.api_views import ApiView
from common.web.streaming import StreamedResponse
from connections import services, tasks
from connections.api.connections import own_connections
from connections.models import Subscription, SubscriptionTwin
from execution.tasks import enqueue_twin_endings_on_commit
from users.api import caller

A_PAGE = 100
FILTERS = [
    OpenApiParameter("twin", int, description="An earlier twin; by default the newest."),
    OpenApiParameter("before", int, description="`next_before` of the previous page."),
    FORMAT,
]


class TwinSerializer(StrictModelSerializer[SubscriptionTwin]):
    """A paper twin. connection: its paper account; ended_at: null while it runs."""

    class Meta:
        model = SubscriptionTwin
        fields = (
            "id", "subscription", "connection", "opening_balance", "currency", "started_at",
            "ended_at", "end_reason",
        )  # fmt: skip
        read_only_fields = fields


class TwinSideSerializer(StrictSerializer):
    """What one account made of a signal. state: empty if the signal did not reach it."""

    connection = serializers.UUIDField(
        allow_null=True, help_text="The account that has the entry: of a route the chosen one."
    )
    state = serializers.CharField(allow_blank=True)
    code = serializers.CharField(allow_blank=True, help_text="Why it was not traded, or waits.")
    quantity = Amount(allow_null=True)
    entry_price = Amount(allow_null=True)
    exit_price = Amount(allow_null=True)
    slippage = Amount(allow_null=True, help_text="In `unit`, + is worse.")
    unit = serializers.CharField(allow_blank=True)
    latency = Amount(allow_null=True, help_text="Milliseconds, of market entries.")
    gross = Amount(allow_null=True, help_text="Realized so far, before costs.")
    costs = Amount(allow_null=True)
    net = Amount(allow_null=True)


class ComparedSignalSerializer(StrictSerializer):
    """A signal on both accounts. difference: live less twin; null: neither traded it."""

    signal = serializers.IntegerField()
    published_at = serializers.DateTimeField()
    pair = serializers.CharField()
    side = serializers.CharField()
    live = TwinSideSerializer()
    twin = TwinSideSerializer()
    difference = Amount(allow_null=True)


class TwinEquitySerializer(StrictSerializer):
    """The end of a trading day: the opening balance and what this feed's trades have made since."""

    day = serializers.DateField()
    live = Amount()
    twin = Amount()


class TwinPartSerializer(StrictSerializer):
    """A part of the difference, in whole units of the currency."""

    part = serializers.ChoiceField(choices=PARTS)
    amount = Amount()


class ComparisonSerializer(StrictSerializer):
    """A subscription and its paper twin. The parts add up to `difference`, to the cent."""

    twin = TwinSerializer()
    net_live = Amount()
    net_twin = Amount()
    difference = Amount(help_text="What the live account made more.")
    parts = TwinPartSerializer(many=True)
    equity = TwinEquitySerializer(many=True)
    has_live_sizes = serializers.BooleanField(
        help_text="Whether the twin trades in the lot steps of the live broker."
    )
    until = serializers.DateTimeField(help_text="What closed until then is counted; market time.")
    signals = ComparedSignalSerializer(many=True)
    next_before = serializers.IntegerField(allow_null=True)


class SubscriptionTwinViewSet(ApiView, viewsets.GenericViewSet[Subscription]):
    """The paper twins of your subscriptions."""

    queryset = Subscription.objects.none()
    serializer_class = TwinSerializer
    lookup_value_regex = "[0-9]{1,18}"
    pagination_class = None
    filter_backends: Any = ()
    rights = {"twin": Right.CONNECTIONS, "stop_twin": Right.CONNECTIONS}

    def get_queryset(self) -> QuerySet[Subscription]:
        """Return the caller's own subscriptions, also ended ones."""
        mine = own_connections(caller(self.request)).values("pk")
        return Subscription.objects.filter(connection__in=mine, twin_of=None)

    @extend_schema(request=None, responses={200: TwinSerializer, 201: TwinSerializer})
    @action(detail=True, methods=["post"])
    def twin(self, request: Request, pk: str) -> Response:
        """Run a paper twin beside the subscription from its next signal on.

        200 if one runs already. 409 TWIN_NOT_POSSIBLE, TWIN_LIMIT, ACCOUNT_NOT_SYNCED, NO_PRESET,
        NO_SHARED_PRICES.
        """
        link, is_new = services.start_twin(self.get_object().pk, by=caller(request))
        if is_new:
            transaction.on_commit(partial(tasks.enqueue_test, link.connection_id))
        return Response(TwinSerializer(link).data, status=201 if is_new else 200)

    @extend_schema(request=None, responses=TwinSerializer)
    @action(detail=True, methods=["post"], url_path="stop-twin")
    def stop_twin(self, request: Request, pk: str) -> Response:
        """Stop the running twin: its positions are closed, its account is archived, its history
        stays. 404 if none runs."""
        link = services.stop_twin(self.get_object().pk, by=caller(request))
        if link is None:
            raise NotFound
        enqueue_twin_endings_on_commit()
        return Response(TwinSerializer(link).data)

    @extend_schema(parameters=FILTERS, responses=streamed(ComparisonSerializer))
    @action(detail=True, renderer_classes=(JSONRenderer, *STREAMED))
    def comparison(self, request: Request, pk: str) -> Response | StreamedResponse:
        """Compare the subscription with its twin: sums, both equities, and each signal, newest
        first. 404 without a twin."""
        check_parameters(request, FILTERS)
        user, subscription = caller(request), self.get_object()
        links = twins_of(user).filter(subscription=subscription)
        chosen = _number(request, "twin")
        link = (links.filter(pk=chosen) if chosen is not None else links).first()
        if link is None:
            raise NotFound
        if is_streamed(request):
            return stream(request, csv_rows(link.pk, user), name="paper-twin")
        found = _shown(compare(link), _number(request, "before"))
        return Response(ComparisonSerializer(found).data)


def _number(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    return int(text) if text else None


def _shown(found: Comparison, before: int | None) -> dict[str, Any]:
    # In the order of publication, in which their numbers need not be.
    numbers = [one.signal.pk for one in found.signals]
    last = len(numbers) if before is not None else -1  # of an unknown signal nothing is left
    last = numbers.index(before) if before in numbers else last
    left = found.signals[last + 1 :]
    page = left[:A_PAGE]
    return {
        "twin": found.link, "net_live": found.difference.live,
        "net_twin": found.difference.twin, "difference": found.difference.total,
        "parts": [
            {"part": name, "amount": found.difference.parts.get(name, 0)} for name in PARTS
        ],
        "equity": found.equity, "has_live_sizes": found.has_live_sizes, "until": found.until,
        "signals": [_signal(one) for one in page],
        "next_before": page[-1].signal.pk if len(left) > A_PAGE else None,
    }  # fmt: skip


def _signal(one: ComparedSignal) -> dict[str, Any]:
    return {
        "signal": one.signal.pk, "published_at": one.signal.published_at,
        "pair": one.signal.currency_pair, "side": one.signal.direction, "live": _side(one.live),
        "twin": _side(one.twin), "difference": one.difference,
    }  # fmt: skip


def _side(side: Side) -> dict[str, Any]:
    trade = side.trade
    return {
        "connection": side.account.pk if side.account else None,
        "state": side.state, "code": side.code, "quantity": side.quantity,
        "entry_price": side.entry_price, "exit_price": side.exit_price,
        "slippage": side.slippage, "unit": side.unit, "latency": side.latency,
        "gross": trade.gross if trade else None, "costs": trade.costs if trade else None,
        "net": trade.net if trade else None,
    }  # fmt: skip
