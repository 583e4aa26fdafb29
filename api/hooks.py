"""The door for alerts, as an address."""

import re
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.throttling import AlertThrottle
from common.codes import Code
from common.errors import InvalidInputError
from common.rest import StrictSerializer
from signals.alerts import take_alert
from signals.serializers import NewSignalSerializer
from signals.strict_json import MAX_BYTES

_TOKEN = re.compile(r"(/hooks/[a-z]+/[^/\s\"']*/)[^/\s\"']+")


def hide_tokens(text: str) -> str:
    """Return a text without the secrets in addresses of alerts: for logs."""
    return _TOKEN.sub(r"\1[hidden]", text)


class AlertAnswerSerializer(StrictSerializer):
    """What became of an alert."""

    id = serializers.IntegerField()
    number = serializers.CharField()
    is_published = serializers.BooleanField()
    is_new = serializers.BooleanField(help_text="False: the same alert was here before.")


class AlertView(APIView):
    """Post an alert, as TradingView does. The token in the address says for which feed.

    The body is a signal (without `feed`), of whatever content type. Its feed must be approved; it
    is published at once. The same alert again is the same signal.
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
        signal, created = take_alert(
            feed_slug=feed,
            secret=token,
            body=_body(request),
            signature=request.headers.get("X-Fillcast-Signature", ""),
        )
        answer: dict[str, Any] = {
            "id": signal.pk,
            "number": signal.number,
            "is_published": signal.is_published,
            "is_new": created,
        }
        return Response(answer, status=201 if created else 200)


def _body(request: Request) -> bytes:
    """Read no more than is allowed, whatever length the sender claims."""
    said = request.META.get("CONTENT_LENGTH") or "0"
    if said.isdigit() and int(said) > MAX_BYTES:
        raise InvalidInputError(Code.BODY_TOO_LARGE)
    return bytes(request._request.read(MAX_BYTES + 1))
