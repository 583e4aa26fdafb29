"""The demo's scenario: a file of alerts with their times, posted as TradingView posts them."""

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, time
from http import HTTPStatus
from pathlib import Path
from time import sleep
from typing import Any
from urllib.parse import urlsplit

from common.clocks import machine_time
from common.errors import MisconfiguredError
from demo.accounts import DAY

ALERTS = Path(__file__).parent / "alerts" / "payrolls.json"
CREATED = (201,)
CLOSING = 202
RELEASE = DAY.replace(hour=12, minute=30)
"""When EUR/USD falls. Alerts before it are placed at all brokers by then, or the run has no gap."""
TITLE_FIELDS = ("action", "side", "symbol", "order_type")
TIMEOUT_SECONDS = 10
STORED, LOOK_SECONDS = 202, 0.05
# By what became of a stored alert, or the kind of its refusal.
STATUS_OF = {
    "PUBLISHED": 201, "NOTHING": 200, "REPEATED": 200, "INVALID": 400, "NOT_ALLOWED": 403,
    "CONFLICT": 409,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of the file. at: on the market clock. act: an action in place of an alert."""

    at: datetime
    why: str
    alert: dict[str, Any] = field(default_factory=dict)
    act: str = ""
    expect: tuple[int, ...] = CREATED

    @property
    def title(self) -> str:
        """The alert in short, and its purpose."""
        fields = (str(self.alert[name]) for name in TITLE_FIELDS if name in self.alert)
        return f"{' '.join(fields)} ({self.why})"


@dataclass(frozen=True, slots=True)
class Answer:
    """The web process's reply to an alert."""

    step: Step
    status: int
    body: dict[str, Any]

    @property
    def is_expected(self) -> bool:
        return self.status in self.step.expect

    @property
    def sentence(self) -> str:
        """The first message in the reply; '' if there is none."""
        errors = [str(error.get("detail", "")) for error in self.body.get("errors", ())]
        messages = [*errors, self.body.get("detail", ""), self.body.get("code", "")]
        return next((text for text in messages if text), "")


def read_scenario(path: Path = ALERTS) -> list[Step]:
    """Return a file's steps, ordered by time. Raises MisconfiguredError."""
    try:
        return sorted(_steps(json.loads(path.read_text())), key=lambda step: step.at)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MisconfiguredError(f"{path}: not a file of alerts ({error!r}).") from error


def _steps(entries: list[dict[str, Any]]) -> Iterator[Step]:
    for entry in entries:
        at = time.fromisoformat(entry["at"])
        yield Step(
            at=datetime.combine(DAY.date(), at, DAY.tzinfo),
            why=entry["why"],
            alert=entry.get("alert", {}),
            act=entry.get("act", ""),
            expect=tuple(entry.get("expect", CREATED)),
        )


class AlertClient:
    """A client of the web process; each request has a connection of its own, as TradingView's do.

    A connection that stayed open would be closed by the web process between two alerts.
    """

    def __init__(self, url: str, feed: str, token: str) -> None:
        """token: the secret in the address that alerts are posted to."""
        self._port = urlsplit(url).port or 80
        self._path = f"/hooks/tradingview/{feed}/{token}/"

    def post(self, step: Step) -> Answer:
        """Post a step's alert, as TradingView would; the status is 0 if there was no reply.

        An alert that is stored is looked up until a worker has published it. The answer's status is
        then that of the whole: 201 for a new signal, 200 for a known one, 4xx for a refusal.
        """
        status, body = self._send(self._path, step.alert, {})
        end = machine_time() + TIMEOUT_SECONDS
        path = str(body.get("status", ""))
        while status == STORED and machine_time() < end:
            sleep(LOOK_SECONDS)
            found, known = self._send(path, None, {})
            if found == HTTPStatus.OK and known["state"] != "WAITING":
                key = str(known["refusal"] or known["state"])
                status, body = STATUS_OF[key], {**known, "detail": known["summary"]}
        return Answer(step, status, body)

    def close_all(self, key: str) -> int:
        """Close all positions of an API key's owner; return how many are being closed.

        Raises OSError if the request fails.
        """
        headers = {"Authorization": f"Bearer {key}"}
        status, body = self._send("/api/v1/positions/close-all/", {}, headers)
        if status != CLOSING:
            raise OSError(f"closing positions through the API returned {status}: {body}")
        return int(body["count"])

    def _send(
        self, path: str, body: dict[str, Any] | None, headers: dict[str, str]
    ) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS)
        try:
            if body is None:
                connection.request("GET", path, headers=headers)
            else:
                typed = {"Content-Type": "application/json", **headers}
                connection.request("POST", path, json.dumps(body), typed)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            return 0, {"detail": f"the web process does not answer ({error})"}
        finally:
            connection.close()
        try:
            reply: dict[str, Any] = json.loads(content)
        except ValueError:
            reply = {"detail": f"{response.reason}, see the web process's log"}
        return response.status, reply
