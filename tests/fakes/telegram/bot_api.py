"""Telegram's Bot API for bots of one test: getMe and getUpdates, with a journal of its own.

An update is confirmed, and gone, when a call asks for a later one. A second getUpdates ends the
first with 409, as Telegram does. It knows no update for a deletion: neither does Telegram.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from time import time
from typing import Any
from urllib.parse import parse_qs

from tests.fakes.http_server import serving_http

TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"
CHANNEL_ID, GROUP_ID = -1001234567, -100777
CHANNEL = {"id": CHANNEL_ID, "type": "channel", "title": "Alice signals"}
GROUP = {"id": GROUP_ID, "type": "supergroup", "title": "Alice group"}


@dataclass(frozen=True, slots=True)
class Call:
    """A call as the double received it."""

    method: str
    offset: int
    timeout: float
    allowed: tuple[str, ...]


@dataclass
class Refused:
    """An answer in place of the right one. times: how often; forever if it is 0."""

    status: int
    description: str
    parameters: dict[str, Any] = field(default_factory=dict)
    times: int = 1


@dataclass
class BotApi:
    """tokens: the valid ones, with the bot's name. longest: seconds that a long poll waits at most.

    repeats: confirmed updates are sent again. refused: in place of the next answers.
    """

    tokens: dict[str, str] = field(default_factory=lambda: {TOKEN: "alice_signals_bot"})
    longest: float = 0.02
    repeats: bool = False
    refused: Refused | None = None
    journal: list[Call] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0
    next_id: int = 9001
    next_message: int = 1
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _current: dict[str, int] = field(default_factory=dict)
    ends: bool = False

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/bot"

    def calls(self, method: str) -> list[Call]:
        return [call for call in self.journal if call.method == method]

    def post(self, text: str | None, **more: Any) -> dict[str, Any]:
        """Write a post in the channel; return the message."""
        return self._write("channel_post", CHANNEL, text, more)

    def say(self, text: str, sender: int = 55, chat: Any = GROUP, **more: Any) -> dict[str, Any]:
        """Write a message in a group as a user."""
        user = {"id": sender, "is_bot": False, "first_name": "Anna"}
        return self._write("message", chat, text, {"from": user, **more})

    def edit(self, message: dict[str, Any], text: str) -> None:
        kind = "edited_message" if "from" in message else "edited_channel_post"
        self._add(kind, {**message, "text": text, "edit_date": int(time())})

    def _write(
        self, kind: str, chat: Any, text: str | None, more: dict[str, Any]
    ) -> dict[str, Any]:
        message = {"message_id": self.next_message, "chat": chat, "date": int(time()), **more}
        if text is not None:
            message["text"] = text
        self.next_message += 1
        self._add(kind, message)
        return message

    def _add(self, kind: str, message: dict[str, Any]) -> None:
        with self._changed:
            self.updates.append({"update_id": self.next_id, kind: message})
            self.next_id += 1
            self._changed.notify_all()

    def answer(self, token: str, method: str, fields: dict[str, str]) -> tuple[int, Any]:
        """Return the status and the body of a call's answer."""
        call = Call(
            method, int(fields.get("offset", 0)), float(fields.get("timeout", 0)),
            tuple(json.loads(fields.get("allowed_updates", "[]"))),
        )  # fmt: skip
        self.journal.append(call)
        if (refused := self.refused) is not None:
            refused.times -= 1
            if not refused.times:
                self.refused = None
            body: dict[str, Any] = {"ok": False, "error_code": refused.status}
            body |= {"description": refused.description}
            if refused.parameters:
                body["parameters"] = refused.parameters
            return refused.status, body
        if token not in self.tokens:
            return _error(401, "Unauthorized")
        if method == "getMe":
            me = {"id": int(token.split(":")[0]), "is_bot": True, "first_name": "Signals"}
            return 200, {"ok": True, "result": me | {"username": self.tokens[token]}}
        if method == "getUpdates":
            return self._updates(token, call)
        return _error(404, "Not Found")

    def _updates(self, token: str, call: Call) -> tuple[int, Any]:
        with self._changed:
            mine = self._current[token] = self._current.get(token, 0) + 1
            self._changed.notify_all()
            if call.offset and not self.repeats:
                self.updates = [one for one in self.updates if one["update_id"] >= call.offset]
            self._changed.wait_for(
                lambda: self._found() or self.ends or self._current[token] != mine,
                min(call.timeout, self.longest),
            )
            if self._current[token] != mine:
                text = "Conflict: terminated by other getUpdates request"
                return _error(409, text)
            return 200, {"ok": True, "result": self._found()}

    def _found(self) -> list[dict[str, Any]]:
        return self.updates[:100]

    def end(self) -> None:
        """End the calls that wait."""
        with self._changed:
            self.ends = True
            self._changed.notify_all()


def _error(status: int, description: str) -> tuple[int, Any]:
    return status, {"ok": False, "error_code": status, "description": description}


@contextmanager
def bot_api() -> Iterator[BotApi]:
    """Run the double on a free port."""
    state = BotApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            fields = {name: values[0] for name, values in parse_qs(body).items()}
            token, _, method = self.path.removeprefix("/bot").rpartition("/")
            status, answer = state.answer(token, method, fields)
            data = json.dumps(answer).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                return

        def log_message(self, *_: Any) -> None:
            pass

    with serving_http(Handler) as state.port:
        try:
            yield state
        finally:
            state.end()
