"""The door for alerts, as an address."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.throttling import AlertThrottle
from common.api_fields import StrictSerializer
from common.errors import InvalidInputError
from common.reason_codes import Code
from signals.alerts import take_alert
from signals.serializers import NewSignalSerializer
from signals.strict_json import MAX_BYTES


class AlertAnswerSerializer(StrictSerializer):
    """What became of an alert."""

    id = serializers.IntegerField(allow_null=True, help_text="Null: there was nothing to do.")
    number = serializers.CharField(allow_null=True)
    is_published = serializers.BooleanField()
    is_new = serializers.BooleanField(help_text="False: the same alert was here before.")
    change = serializers.CharField(
        help_text="How it was read: entry, add, reduce, reverse, flat, close; empty for a signal."
    )
    signals = serializers.ListField(
        child=serializers.CharField(), help_text="The numbers of all signals that came of it."
    )
    candidates = serializers.IntegerField(
        allow_null=True,
        help_text="Accounts that the signal reached. What became of each: its orders.",
    )
    summary = serializers.CharField(help_text="What was done, in a sentence.")


class AlertView(APIView):
    """Post an alert, as TradingView does. The token in the address says for which feed.

    The body is a signal (without `feed`), a CLOSE of a `symbol`, or the order of a strategy (its
    `market_position` and `prev_market_position`), of whatever content type. Its feed must be
    approved; it is published at once. The same alert again is the same signal.
    """

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = (AlertThrottle,)
    opens_by_token = True  # api/problems.py counts wrong ones

    @extend_schema(
        operation_id="hooks_tradingview",
        auth=[],
        request=NewSignalSerializer,
        responses={201: AlertAnswerSerializer, 200: AlertAnswerSerializer},
        parameters=[
            OpenApiParameter(
                "X-Fillcast-Signature",
                str,
                OpenApiParameter.HEADER,
                description="sha256=<HMAC-SHA256 of the body>, for tokens that ask for it.",
            )
        ],
    )
    def post(self, request: Request, feed: str, token: str) -> Response:
        """Publish what the alert says."""
        outcome = take_alert(
            feed_slug=feed,
            secret=token,
            body=_body(request),
            signature=request.headers.get("X-Fillcast-Signature", ""),
        )
        signal = outcome.main
        answer: dict[str, Any] = {
            "id": signal and signal.pk,
            "number": signal and signal.number,
            "is_published": signal is not None and signal.is_published,
            "is_new": outcome.is_new,
            "change": outcome.change,
            "signals": [one.number for one in outcome.signals],
            "candidates": signal and signal.candidate_count,
            "summary": outcome.summary,
        }
        return Response(answer, status=201 if outcome.is_new and signal else 200)


def _body(request: Request) -> bytes:
    """Read no more than is allowed, whatever length the sender claims."""
    said = request.META.get("CONTENT_LENGTH") or "0"
    if said.isdigit() and int(said) > MAX_BYTES:
        raise InvalidInputError(Code.BODY_TOO_LARGE)
    return bytes(request._request.read(MAX_BYTES + 1))
