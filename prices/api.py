"""REST API of price sources that a program pushes quotes to."""

from typing import Any

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from common.permissions import Right
from common.web.api_fields import StrictSerializer, validated_body
from common.web.api_views import ObjectView
from connections.models import DataConnection
from prices.pushed_quotes import MAX_QUOTES, push_quotes
from users.api import caller


class PushedQuoteSerializer(StrictSerializer):
    """One quote. Prices are plain decimals, as texts or numbers."""

    symbol = serializers.CharField(help_text="A pair of the source's settings: EUR/USD.")
    bid = serializers.CharField(help_text="Above 0, and not above the ask.")
    ask = serializers.CharField(help_text="The lowest price to sell at.")
    time = serializers.DateTimeField(
        help_text="When it was true, with its offset: at most 5 s ago and 2 s ahead, and after the"
        " quote of this symbol before."
    )


@extend_schema_field(PushedQuoteSerializer(many=True))
class QuotesField(serializers.ListField):
    """Quotes that are judged one by one: an invalid one does not refuse the others."""

    child = serializers.JSONField()


class PushedQuotesSerializer(StrictSerializer):
    """Quotes to push, of any of the source's symbols, in the order of their times."""

    quotes = QuotesField(
        min_length=1, max_length=MAX_QUOTES, help_text="1 to 100 quotes, the oldest first."
    )


class RefusedQuoteSerializer(StrictSerializer):
    """A quote that was not taken."""

    row = serializers.IntegerField(help_text="Its number in the body, from 0.")
    symbol = serializers.CharField(allow_blank=True)
    code = serializers.CharField(help_text="A reason code.")
    message = serializers.CharField(help_text="What is wrong with it, and what to do.")


class PushedSerializer(StrictSerializer):
    """What became of the quotes."""

    accepted = serializers.IntegerField(
        help_text="Taken. One that is far from the last price still fires nothing until a second"
        " quote, or a second without another, confirms it."
    )
    repeated = serializers.IntegerField(help_text="Taken before; sending them again is no error.")
    refused = RefusedQuoteSerializer(many=True, help_text="The others, each with why.")


class PushedQuotesViewSet(ObjectView, viewsets.GenericViewSet[DataConnection]):
    """Quotes that a program of yours pushes to a price source of the kind `push`."""

    queryset = DataConnection.objects.none()
    serializer_class = PushedSerializer
    rights = {"quotes": Right.PUSH_PRICES}
    lookup_value_regex = "[0-9]{1,18}"
    http_method_names = ("post", "options")

    def get_queryset(self) -> QuerySet[DataConnection]:
        """Return the sources that the caller may push to; operators reach all."""
        user: Any = caller(self.request)
        rows = DataConnection.objects.all()
        return rows if user.is_operator else rows.filter(Q(user=user))

    @extend_schema(request=PushedQuotesSerializer, responses=PushedSerializer)
    @action(detail=True, methods=["post"])
    def quotes(self, request: Request, pk: str) -> Response:
        """Push quotes, 100 at most. Needs a key with the scope `prices`, and nothing else.

        Each quote is taken or refused on its own; the answer states why. Push also prices that have
        not moved: a price that was not confirmed for a minute is no price of now. Nothing is done
        twice if you send a body again. 409 SOURCE_NOT_PUSHED if the source takes none or is
        switched off.
        """
        source = self.get_object()
        quotes = validated_body(PushedQuotesSerializer, request)["quotes"]
        pushed = push_quotes(source.pk, quotes, by=caller(request))
        return Response(PushedSerializer(pushed).data)
