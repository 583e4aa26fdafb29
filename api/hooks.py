"""The HTTP endpoint for alerts."""

from functools import lru_cache
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.views import APIView

from alerts.inbox.log import entries_for
from alerts.inbox.posts import PostedAlert, alert_sent_with, receive_alert
from alerts.inbox.serializers import AlertStatusSerializer
from alerts.inbox.storing import Receipt
from alerts.models import AlertState
from alerts.tasks import notify_worker_on_commit
from api.problems import refusal
from api.throttling import AlertThrottle
from common.errors import InvalidInputError
from common.reason_codes import Code
from common.web.api_fields import StrictSerializer
from signals.reading.strict_json import MAX_BYTES


class AlertAnswerSerializer(StrictSerializer):
    """An alert that was stored; a worker publishes it at once."""

    alert = serializers.IntegerField(help_text="Its number in the feed's log of alerts.")
    state = serializers.ChoiceField(AlertState.choices)
    status = serializers.CharField(help_text="The path at which to see what became of it.")
    summary = serializers.CharField()


class _TokenView(APIView):
    """What opens by the token in its address."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = (AlertThrottle,)
    opens_by_token = True  # a wrong token counts as an unauthenticated call (api/problems.py)


class AlertView(_TokenView):
    """Post an alert, as TradingView does. The token in the address selects the feed.

    The body is a signal (without `feed`), a CLOSE of a `symbol`, or the order of a strategy (with
    `market_position` and `prev_market_position`), of any content type. The feed must be approved.
    It is answered as soon as it is read and stored; a worker publishes it at once. A repeated alert
    is the same signal. What cannot be read is refused with all of its faults.
    """

    # The web process answers most posts before they get here (config/middleware/alert_endpoint.py).

    @extend_schema(
        auth=[],
        request={"application/json": OpenApiTypes.OBJECT, "text/plain": OpenApiTypes.STR},
        responses={202: AlertAnswerSerializer},
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
        """Store the alert."""
        posted = PostedAlert(
            feed_slug=feed,
            secret=token,
            body=_body(request),
            signature=request.headers.get("X-Fillcast-Signature", ""),
            address=_address(request),
        )
        receipt = receive_alert(posted)
        if receipt.error is not None:
            return refusal(receipt.error)  # not raised: its row in the log stays
        notify_worker_on_commit()
        return Response(accepted(receipt, feed, token), status=202)


class AlertStatusView(_TokenView):
    """Read what became of an alert, with the address that it was posted to, from where alerts
    may be posted. A token that requires signatures requires none here."""

    @extend_schema(
        auth=[],
        responses=AlertStatusSerializer,
        parameters=[OpenApiParameter("alert", int, OpenApiParameter.PATH)],
    )
    def get(self, request: Request, feed: str, token: str, alert: int) -> Response:
        """Return the alert's state, and its signals, or why there are none."""
        found = alert_sent_with(
            feed_slug=feed, secret=token, alert_id=alert, address=_address(request)
        )
        [entry] = entries_for([found])
        return Response(AlertStatusSerializer(entry).data)


def accepted(receipt: Receipt, feed: str, token: str) -> dict[str, Any]:
    """Return the answer to an alert that was stored."""
    alert = receipt.alert
    assert alert is not None
    summary = "Received and stored. A worker publishes it; see its status."
    return {
        "alert": alert.pk,
        "state": alert.state,
        "status": f"{_statuses_of(feed, token)}{alert.pk}/",
        "summary": f"{summary} {receipt.note}".strip(),
    }


@lru_cache(maxsize=1_000)
def _statuses_of(feed: str, token: str) -> str:
    """Return the path of an address's alerts. Django takes longer for it than to read an alert."""
    names = {"feed": feed, "token": token, "alert": 0}
    return reverse("alert_status", kwargs=names).removesuffix("0/")


def _address(request: Request) -> str:
    return str(request.META.get("REMOTE_ADDR", ""))


def _body(request: Request) -> bytes:
    """Return the body, at most one byte more than allowed, whatever length the header states."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if length.isdigit() and int(length) > MAX_BYTES:
        raise InvalidInputError(Code.BODY_TOO_LARGE)
    return bytes(request._request.read(MAX_BYTES + 1))
