"""REST API of what a preset means: an example in money, and what its accounts have open."""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.what_if.preset_use import uses_of_accounts
from analytics.what_if.sizing_example import Asked, Example, sizing_example
from api.trading.refusals import RefusalReason, refusal
from common.errors import ConflictError, InvalidInputError
from common.reason_codes import Code
from common.units import Unit
from common.web.api_fields import Amount, StrictSerializer, invalid
from common.web.api_views import ApiView
from connections.api.connections import own_connections, usable_rows
from connections.api.serializers import PresetSerializer
from connections.models import TradingPreset
from connections.symbols import canonical
from signals.models import Direction, RiskCategory
from users.api import caller

TERMS = frozenset(PresetSerializer().fields) - {
    "id", "name", "is_shared", "created_at", "decision_provider",
}  # fmt: skip
"""The terms of a preset that an example may have in place of the stored ones."""
OF_ANY_GET = frozenset({"fields", "format"})
LISTS = frozenset({"allowed_symbols", "trading_sessions"})


class ExampleOfSerializer(StrictSerializer):
    """What an example is calculated for."""

    connection = serializers.UUIDField(help_text="The account.")
    symbol = serializers.CharField(default="EUR/USD", max_length=20, help_text="Default: EUR/USD.")
    side = serializers.ChoiceField(Direction.choices, default=Direction.BUY)
    stop_pips = Amount(
        required=False, positive=True, help_text="How far the stop is away; without it: no stop."
    )
    risk_category = serializers.ChoiceField(RiskCategory.choices, default=RiskCategory.NORMAL)
    provider_quantity = Amount(
        required=False, positive=True, help_text="Base units; for the rules that use it."
    )

    def validate_symbol(self, value: str) -> str:
        """Return the pair. Raises ValidationError if it is none."""
        try:
            return canonical(value)
        except InvalidInputError as error:
            raise invalid(error.code, error.detail) from error


class ExampleSerializer(StrictSerializer):
    """An entry now, decided as the engine decides it. Money: account currency.

    quantity: base units; null: nothing would be sent, and `reason` states why.
    """

    pair = serializers.CharField()
    currency = serializers.CharField()
    balance = Amount(allow_null=True)
    equity = Amount(allow_null=True)
    quantity = Amount(allow_null=True)
    lots = Amount(allow_null=True, help_text="Of the broker's contract size.")
    calculated = Amount(allow_null=True, help_text="Before the broker's step took its part off.")
    risk = Amount(allow_null=True, help_text="What is lost if the stop is hit.")
    risk_percent = Amount(allow_null=True, help_text="The risk in percent of equity.")
    margin = Amount(allow_null=True, help_text="What the broker would block for it.")
    notional = Amount(allow_null=True, help_text="What the quantity is worth.")
    price = Amount(allow_null=True, help_text="The price of now; null: there is no quote.")
    stop = Amount(allow_null=True, help_text="The price of its stop; null: it has none.")
    quantity_step = Amount(source="step", allow_null=True)
    quantity_min = Amount(source="minimum", allow_null=True)
    warning = serializers.CharField(
        allow_blank=True, help_text="What is risky about it, if anything."
    )
    detail = serializers.CharField(
        source="sentence", allow_blank=True, help_text="Why nothing would be sent, with figures."
    )
    reason = serializers.SerializerMethodField(help_text="null: it would be sent.")

    @extend_schema_field(RefusalReason(allow_null=True))
    def get_reason(self, example: Example) -> dict[str, Any] | None:
        """Return the code, sentence, hint and figures of why nothing would be sent."""
        code = example.code
        return None if code is None else refusal(code.value, "DENIED", example.figures)


class PresetUseSerializer(StrictSerializer):
    """What an account with the preset has open or waiting: a change applies to what follows."""

    connection = serializers.UUIDField(source="connection_id")
    connection_name = serializers.CharField(source="name")
    positions = serializers.IntegerField(help_text="Open positions.")
    working = serializers.IntegerField(help_text="Entries at the broker: they stay as they are.")
    waiting = serializers.IntegerField(
        help_text="Entries that are not sent: decided by the new terms."
    )
    later_slices = serializers.IntegerField(help_text="Of entries that have begun.")
    held = serializers.IntegerField(help_text="Entries that Fillcast holds until their price.")


class PresetMeaningViewSet(ApiView, viewsets.GenericViewSet[TradingPreset]):
    """What a preset means for your accounts."""

    queryset = TradingPreset.objects.none()
    serializer_class = ExampleSerializer
    lookup_value_regex = "[0-9]{1,18}"
    pagination_class = None
    filter_backends: Any = ()

    def get_queryset(self) -> QuerySet[TradingPreset]:
        """Return the presets that the caller may use."""
        return usable_rows(TradingPreset, caller(self.request))

    @extend_schema(
        responses=ExampleSerializer,
        parameters=[
            ExampleOfSerializer,
            OpenApiParameter(
                "risk_percent", str,
                description="As every other number, choice or list of a preset: the example is that"
                " of the preset with this value, which is not stored. Lists have commas.",
            ),
        ],
    )  # fmt: skip
    @action(detail=True)
    def example(self, request: Request, pk: str) -> Response:
        """Size an entry of now on one of your accounts: lots, risk and margin in money.

        It is decided by the engine's rules on the account's balance, steps, positions, limits and
        current prices. Nothing is written. Why the account takes no signals at present (a pause, a
        missing test) is left out. 409 ACCOUNT_NOT_SYNCED: its balance was never read.
        """
        preset, user = self.get_object(), caller(request)
        of_example, changes = _parts(request.query_params)
        body = ExampleOfSerializer(data=of_example)
        body.is_valid(raise_exception=True)
        asked = body.validated_data
        terms = PresetSerializer(preset, data=changes, partial=True, context={"request": request})
        terms.is_valid(raise_exception=True)
        account = own_connections(user).filter(archived_at=None, pk=asked["connection"]).first()
        if account is None:
            raise Http404
        if getattr(account, "snapshot", None) is None:
            raise ConflictError(Code.ACCOUNT_NOT_SYNCED)
        found = sizing_example(
            terms.unsaved_row(terms.validated_data),
            account.pk,
            Asked(
                asked["symbol"], asked["side"], asked.get("stop_pips"), asked["risk_category"],
                asked.get("provider_quantity"), Unit.PIPS,
            ),
        )  # fmt: skip
        return Response(ExampleSerializer(found).data)

    @extend_schema(responses=PresetUseSerializer(many=True))
    @action(detail=True)
    def uses(self, request: Request, pk: str) -> Response:
        """List your accounts that use the preset, with what they have open or waiting."""
        preset = self.get_object()
        accounts = own_connections(caller(request)).filter(archived_at=None, preset=preset)
        named = list(accounts.order_by("name", "pk").values_list("pk", "name"))
        return Response(PresetUseSerializer(uses_of_accounts(named), many=True).data)


def _parts(query: Mapping[str, str]) -> tuple[dict[str, str], dict[str, Any]]:
    """Return what of a query is about the example, and what about the preset.

    Any other name is left with the example, whose serializer refuses it.
    """
    sent = {name: value for name, value in query.items() if name not in OF_ANY_GET}
    changes = {
        name: [part.strip() for part in value.split(",") if part.strip()]
        if name in LISTS
        else value
        for name, value in sent.items()
        if name in TERMS
    }
    return {name: value for name, value in sent.items() if name not in changes}, changes
