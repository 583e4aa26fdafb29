"""The HTTP endpoint for alerts."""

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
from signals.alerts import receive_alert
from signals.draft_serializers import NewSignalSerializer
from signals.strict_json import MAX_BYTES


class AlertAnswerSerializer(StrictSerializer):
    """The result of an alert."""

    id = serializers.IntegerField(allow_null=True, help_text="Null: there was nothing to do.")
    number = serializers.CharField(allow_null=True)
    is_published = serializers.BooleanField()
    is_new = serializers.BooleanField(help_text="False: the same alert was received before.")
    change = serializers.CharField(
        help_text="How it was read: entry, add, reduce, reverse, flat, close; empty for a signal."
    )
    signals = serializers.ListField(
        child=serializers.CharField(), help_text="The numbers of all signals that it published."
    )
    candidates = serializers.IntegerField(
        allow_null=True,
        help_text="Accounts that the signal was sent to; see its orders for their results.",
    )
    summary = serializers.CharField(help_text="What was done, in a sentence.")


class AlertView(APIView):
    """Post an alert, as TradingView does. The token in the address selects the feed.

    The body is a signal (without `feed`), a CLOSE of a `symbol`, or the order of a strategy (with
    `market_position` and `prev_market_position`), of any content type. The feed must be approved;
    the alert is published at once. A repeated alert is the same signal.
    """

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = (AlertThrottle,)
    opens_by_token = True  # a wrong token counts as an unauthenticated call (api/problems.py)

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
                description="sha256=<HMAC-SHA256 of the body>, for tokens that require it.",
            )
        ],
    )
    def post(self, request: Request, feed: str, token: str) -> Response:
        """Carry out the alert."""
        outcome = receive_alert(
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
            "signals": [published.number for published in outcome.signals],
            "candidates": signal and signal.candidate_count,
            "summary": outcome.summary,
        }
        return Response(answer, status=201 if outcome.is_new and signal else 200)


def _body(request: Request) -> bytes:
    """Return the body, at most one byte more than allowed, whatever length the header states."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if length.isdigit() and int(length) > MAX_BYTES:
        raise InvalidInputError(Code.BODY_TOO_LARGE)
    return bytes(request._request.read(MAX_BYTES + 1))
