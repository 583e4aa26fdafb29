"""REST API of preflights: what a feed's last signals would have done on an account."""

from decimal import Decimal
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.models import Preflight
from analytics.preflight.services import MOST, USUAL, preflights_of, request_preflight
from common.permissions import Right
from common.web.api_fields import Amount, StrictModelSerializer, WholeNumber
from connections.api.connections import RelatedRowsMixin
from connections.api.serializers import FeedBySlug, OwnRowField
from connections.api.subscription_serializers import checked_symbol_map
from connections.models import Directions, ExecutionConnection
from users.api import caller


class PreflightSerializer(StrictModelSerializer[Preflight]):
    """A replay of a feed's last signals on a connection. result: null until it is ready."""

    connection = OwnRowField(model=ExecutionConnection)
    feed = FeedBySlug()
    signals = WholeNumber(
        source="signals_wanted", default=USUAL, min_value=1, max_value=MOST,
        help_text="How many of the feed's last signals.",
    )  # fmt: skip
    multiplier = Amount(default=Decimal(1))
    directions = serializers.ChoiceField(choices=Directions.choices, default=Directions.BOTH)
    result = serializers.JSONField(
        read_only=True,
        help_text="Totals, reasons, equity curve, rounding debts and one row for each signal: "
        "docs/preflight.md. Amounts are texts in the account's currency.",
    )

    class Meta:
        model = Preflight
        fields: tuple[str, ...] = (
            "id", "connection", "feed", "signals", "multiplier", "directions", "symbol_map",
            "state", "requested_at", "signals_done", "signals_total", "ready_at", "result",
        )  # fmt: skip
        read_only_fields = (
            "id", "state", "requested_at", "signals_done", "signals_total", "ready_at",
        )  # fmt: skip
        # The service replaces an earlier one of the same connection and feed.
        validators: tuple[Any, ...] = ()

    def validate_symbol_map(self, value: Any) -> dict[str, str]:
        """Return the map if its values are texts of a valid length."""
        return checked_symbol_map(value)


class PreflightListSerializer(PreflightSerializer):
    """A preflight without its result."""

    class Meta(PreflightSerializer.Meta):
        fields: tuple[str, ...] = PreflightSerializer.Meta.fields[:-1]


class PreflightViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, RelatedRowsMixin[Preflight]
):
    """Replays of feeds on your connections. Nothing is sent; each is kept for a day."""

    queryset = Preflight.objects.none()
    serializer_class = PreflightSerializer
    lookup_value_regex = "[0-9]{1,18}"
    filterset_fields = ("connection", "state")
    ordering_fields = ("id",)
    rights = {"create": Right.CONNECTIONS}  # a class attribute of all views

    def get_queryset(self) -> QuerySet[Preflight]:
        """Return the preflights that the caller may see."""
        found = preflights_of(caller(self.request))
        return found.defer("result") if self.action == "list" else found

    def get_serializer_class(self) -> Any:
        """Return the serializer: a list leaves the results out."""
        return PreflightListSerializer if self.action == "list" else PreflightSerializer

    @extend_schema(request=PreflightSerializer, responses={202: PreflightSerializer})
    def create(self, request: Request) -> Response:
        """Replay a feed on a connection. It replaces the last preflight of both; get it until its
        `state` is `ready` or `failed`: that takes seconds."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        values = serializer.validated_data
        job = request_preflight(
            connection_id=values["connection"].pk, feed_id=values["feed"].pk,
            by=caller(request), signals=values["signals_wanted"],
            multiplier=values["multiplier"], directions=values["directions"],
            symbol_map=values.get("symbol_map"),
        )  # fmt: skip
        return Response(self.get_serializer(job).data, status=status.HTTP_202_ACCEPTED)
