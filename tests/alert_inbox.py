"""Post alerts in tests, do what a worker does with them, and look at the result.

The endpoint only stores an alert. Most tests are about what becomes of it: `deliver` raises what it
is refused with, and `answer_of` turns the endpoint's answer into the answer of the whole.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from alerts.carry_out.orders import Outcome
from alerts.inbox.log import entries_for
from alerts.inbox.posts import PostedAlert, receive_alert
from alerts.inbox.publishing import publish_next
from alerts.inbox.serializers import AlertStatusSerializer
from alerts.inbox.storing import Receipt, refusal_of
from alerts.models import AlertState, IncomingAlert
from api.problems import CONTENT_TYPE, refusal
from signals.models import Feed, Signal

SECONDS = 120.0
# What differs between an alert and the same one again.
OF_ITSELF = {"alert", "state", "received_at", "settled_at"}


@dataclass(frozen=True)
class Answer:
    """What became of a posted alert, in the form of an HTTP response."""

    status_code: int
    body: Mapping[str, Any]
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def content(self) -> bytes:
        return json.dumps(self.body, default=str).encode()

    @property
    def data(self) -> Mapping[str, Any]:
        return self.body

    def __getitem__(self, name: str) -> str:
        return {"Content-Type": self.content_type, **self.headers}[name]


def settled(alert_id: int) -> IncomingAlert:
    """Publish waiting alerts until this one is settled, or another process has done so."""
    deadline = time.monotonic() + SECONDS
    while (alert := IncomingAlert.objects.select_related("feed").get(pk=alert_id)).is_waiting:
        assert time.monotonic() < deadline, f"alert {alert_id} still waits"
        if not publish_next():
            time.sleep(0.01)  # another thread publishes it, or an earlier one
    return alert


def answer_of(response: Any) -> Any:
    """Return the answer of a posted alert once it is settled: 201, 200, or why it was refused.

    The endpoint's own answer if it refused the alert.
    """
    if response.status_code != 202:
        return response
    alert = settled(response.json()["alert"])
    if alert.refusal:
        refused = refusal(refusal_of(alert))
        body = refused.data | {"request_id": "0" * 32}  # a worker answers no request
        headers = {"Retry-After": str(refused.headers.get("Retry-After", ""))}
        return Answer(refused.status_code, body, CONTENT_TYPE, headers)
    [entry] = entries_for([alert])
    about_signals = dict(AlertStatusSerializer(entry).data)
    body = {name: value for name, value in about_signals.items() if name not in OF_ITSELF}
    body |= {"is_published": bool(entry.signals), "summary": alert.summary}
    return Answer(201 if alert.state == AlertState.PUBLISHED else 200, body)


def deliver(feed: Feed, secret: str, body: bytes, **more: Any) -> Outcome:
    """Post an alert and publish it; raise what refuses it, the endpoint or the worker."""
    receipt: Receipt = receive_alert(PostedAlert(feed.slug, secret, body, **more))
    if receipt.error is not None:
        raise receipt.error
    assert receipt.alert is not None
    alert = settled(receipt.alert.pk)
    if alert.refusal:
        raise refusal_of(alert)
    by_id = Signal.objects.in_bulk(alert.signal_ids)
    signals = tuple(by_id[pk] for pk in alert.signal_ids)
    return Outcome(signals, alert.state != AlertState.REPEATED, alert.change, alert.summary)
