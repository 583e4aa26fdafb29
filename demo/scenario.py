"""What happens in the demo and when: a file of alerts, posted as TradingView would post them."""

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from common.errors import MisconfiguredError
from demo.accounts import DAY

ALERTS = Path(__file__).parent / "alerts" / "payrolls.json"
CREATED = (201,)
CLOSING = 202
TITLE_FIELDS = ("action", "side", "symbol", "order_type")
TIMEOUT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of the file. at: market clock. act: what happens in place of an alert."""

    at: datetime
    why: str
    alert: dict[str, Any] = field(default_factory=dict)
    act: str = ""
    expect: tuple[int, ...] = CREATED

    @property
    def title(self) -> str:
        """What the alert says, and what for."""
        words = (str(self.alert[name]) for name in TITLE_FIELDS if name in self.alert)
        return f"{' '.join(words)} ({self.why})"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the door said to an alert."""

    step: Step
    status: int
    body: dict[str, Any]

    @property
    def is_expected(self) -> bool:
        """Whether the file had foreseen it."""
        return self.status in self.step.expect

    @property
    def sentence(self) -> str:
        """What it says, for people."""
        faults = [str(one.get("detail", "")) for one in self.body.get("errors", ())]
        said = [*faults, self.body.get("detail", ""), self.body.get("code", "")]
        return next((text for text in said if text), "")


def read_scenario(path: Path = ALERTS) -> list[Step]:
    """Return a file's steps in the order of their times. Raises MisconfiguredError."""
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
    """The web process, from outside: one connection that is kept open.

    token: the secret in the address that alerts are posted to.
    """

    def __init__(self, url: str, feed: str, token: str) -> None:
        parts = urlsplit(url)
        self._line = http.client.HTTPConnection(
            "127.0.0.1", parts.port or 80, timeout=TIMEOUT_SECONDS
        )
        self._path = f"/hooks/tradingview/{feed}/{token}/"

    def post(self, step: Step) -> Answer:
        """Post a step's alert, as TradingView would; status 0 if nobody answered."""
        return Answer(step, *self._send(self._path, step.alert, {}))

    def close_all(self, key: str) -> int:
        """Close all positions of the owner of an API key; return how many exits were written.

        Raises OSError if that does not work.
        """
        headers = {"Authorization": f"Bearer {key}"}
        status, told = self._send("/api/v1/positions/close-all/", {}, headers)
        if status != CLOSING:
            raise OSError(f"closing positions through the API was answered {status}: {told}")
        return int(told["count"])

    def _send(
        self, path: str, body: dict[str, Any], headers: dict[str, str]
    ) -> tuple[int, dict[str, Any]]:
        try:
            self._line.request(
                "POST", path, json.dumps(body), {"Content-Type": "application/json", **headers}
            )
            response = self._line.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._line.close()  # the next request opens it again
            return 0, {"detail": f"the web process does not answer ({error})"}
        try:
            told: dict[str, Any] = json.loads(answer)
        except ValueError:
            told = {"detail": f"{response.reason}, see the web process's log"}
        return response.status, told
