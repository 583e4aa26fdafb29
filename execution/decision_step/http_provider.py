"""Ask a user's own web service: one signed POST for a bundle. docs/decision-step.md

The request goes out through the same guard as webhooks: the host is resolved once, its address is
checked and then connected to; redirects are not followed, and at the time-out the connection is
closed. The answer is untrusted: its size is bounded, and its schema (`answer_schema.py`) and each
part of it are checked.
"""

import hashlib
import hmac
import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.exceptions import TimeoutError as HTTPTimeout
from urllib3.util import Timeout

from common.errors import InvalidInputError
from common.money import plain, read_decimal
from common.operational.current import settings_now
from connections.models import DecisionProvider
from connections.selectors import open_secret
from events.outbound import RefusedError, guarded
from execution.decision_step.answer_schema import faults_of
from execution.decision_step.types import (
    Answers,
    Decided,
    Failure,
    NoAnswerError,
    Question,
    checked,
)
from signals.reading.strict_json import JsonObject, first_duplicate, first_unwritable, parse

VERSION = 1
SIGNATURE_HEADER = "X-Fillcast-Signature"
READ = 16 * 1024
BYTES_BASE, BYTES_PER_ENTRY = 64 * 1024, 4 * 1024  # the most that an answer may have


def ask(
    provider: DecisionProvider, questions: Sequence[Question], asked_at: datetime, seconds: float
) -> Answers:
    """Return the answers of a provider's web service. Not inside a transaction.

    Raises NoAnswerError if there is no answer at all, or if a part of it shows that it is not one
    to this request (another request id, an order that was not asked about, or one twice).
    """
    request_id = str(uuid.uuid4())
    body = json.dumps(request_body(request_id, questions, asked_at)).encode()
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "Fillcast",
        "X-Fillcast-Request": request_id,
        SIGNATURE_HEADER: signature(open_secret(provider), int(asked_at.timestamp()), body),
    }
    limit = BYTES_BASE + BYTES_PER_ENTRY * len(questions)
    try:
        with guarded(settings_now().networks.outbound_networks, seconds=seconds):
            data = _post(provider.url, body, headers, limit, seconds)
    except RefusedError as error:
        raise NoAnswerError(Failure.HOST_NOT_ALLOWED, str(error)) from error
    except NewConnectionError as error:  # before time-outs: urllib3 counts it among them
        raise NoAnswerError(Failure.UNREACHABLE, _without_url(error)) from error
    except (TimeoutError, HTTPTimeout) as error:
        raise NoAnswerError(Failure.TIMEOUT, f"No answer within {seconds:g} s.") from error
    except (HTTPError, OSError, ValueError) as error:  # ValueError: a URL that urllib3 refuses
        raise NoAnswerError(Failure.UNREACHABLE, _without_url(error)) from error
    return read_answer(data, request_id, {question.order_id for question in questions}, limit)


def signature(secret: bytes, timestamp: int, body: bytes) -> str:
    """Return the value of the signature's header: its time, and HMAC-SHA256 of time and body."""
    digest = hmac.new(secret, b"%d." % timestamp + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def request_body(
    request_id: str, questions: Sequence[Question], asked_at: datetime
) -> dict[str, Any]:
    """Return the request as JSON: decimals and times are texts."""
    return {
        "version": VERSION,
        "request_id": request_id,
        "asked_at": asked_at.isoformat(),
        "entries": [_entry(question) for question in questions],
    }


def _entry(question: Question) -> dict[str, Any]:
    decimals = (
        "open_price", "stop_price", "stop_loss", "balance", "equity", "pip", "tick",
    )  # fmt: skip
    values = {name: getattr(question, name) for name in decimals}
    return {
        "order_id": question.order_id,
        "connection_id": question.connection_id,
        "signal_id": question.signal_id,
        "feed_id": question.feed_id,
        "symbol": question.pair,
        "side": question.side,
        "order_type": question.order_type,
        "published_at": question.published_at.isoformat(),
        "now": question.now.isoformat(),
        "currency": question.currency,
        "targets": [plain(target) for target in question.targets],
        "market": question.market.as_json(),
        **{name: None if value is None else plain(value) for name, value in values.items()},
    }


def _post(url: str, body: bytes, headers: dict[str, str], limit: int, seconds: float) -> bytes:
    """Send the request and return the body of its answer, at most `limit` bytes.

    Raises NoAnswerError for another status than 200, or for a larger answer; HTTPError, OSError.
    """
    with urllib3.PoolManager(num_pools=1, maxsize=1, retries=False) as pool:
        response = pool.request(
            "POST", url, body=body, headers=headers, redirect=False, preload_content=False,
            timeout=Timeout(total=seconds),
        )  # fmt: skip
        try:
            if response.status != 200:
                raise NoAnswerError(Failure.BAD_STATUS, f"It answered with {response.status}.")
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise NoAnswerError(Failure.BAD_ANSWER, "The answer is compressed.")
            data = b""  # in parts: a part that was cut off raises an error at its end
            while len(data) <= limit and (part := response.read(READ, decode_content=False)):
                data += part
        finally:
            response.close()
    if len(data) > limit:
        raise NoAnswerError(Failure.TOO_LARGE, f"The answer has more than {limit} bytes.")
    return data


def read_answer(data: bytes, request_id: str, order_ids: set[int], limit: int) -> Answers:
    """Return the answers in a body. An entry without one is left out. Raises NoAnswerError. Pure.

    A wrong factor or reason concerns its entry alone.
    """
    try:
        body = parse(data, max_bytes=limit)
    except InvalidInputError as error:
        raise NoAnswerError(Failure.BAD_ANSWER, error.detail) from error
    if (path := first_duplicate(body)) is not None:
        raise NoAnswerError(Failure.BAD_ANSWER, f"{path[:80]} is there twice.")
    if first_unwritable(body) is not None:
        raise NoAnswerError(Failure.BAD_ANSWER, "It has text that cannot be stored.")
    if not isinstance(body, JsonObject) or not isinstance(body.get("decisions"), list):
        raise NoAnswerError(Failure.BAD_ANSWER, "It has no list of decisions.")
    if len(body["decisions"]) > len(order_ids):
        raise NoAnswerError(Failure.BAD_ANSWER, "It has more decisions than the request entries.")
    faults = faults_of(body)
    if faults.whole:
        raise NoAnswerError(Failure.BAD_ANSWER, f"Its schema: {faults.whole[:200]}")
    if body.get("request_id") != request_id:
        raise NoAnswerError(Failure.BAD_ANSWER, "It has another request_id: an earlier answer?")
    answers: dict[int, Decided | NoAnswerError] = {}
    for place, item in enumerate(body["decisions"]):
        order_id = _order_id(item, order_ids)
        if order_id in answers:
            raise NoAnswerError(Failure.BAD_ANSWER, f"Order {order_id} is there twice.")
        answers[order_id] = _decided(item, faults.of_decisions.get(place, ""))
    return answers


def _order_id(item: Any, order_ids: set[int]) -> int:
    text = str(item.get("order_id")) if isinstance(item, JsonObject) else ""
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text) in order_ids):
        raise NoAnswerError(Failure.BAD_ANSWER, f"{text[:40]!r} is no order of the request.")
    return int(text)


def _decided(item: JsonObject, wrong_part: str) -> Decided | NoAnswerError:
    if wrong_part == "reason":
        return NoAnswerError(Failure.BAD_ANSWER, "The reason is not a text.")
    if wrong_part:
        detail = f"{str(item.get('factor'))[:40]!r} is not from 0 to 3."
        return NoAnswerError(Failure.BAD_FACTOR, detail)
    try:
        factor: object = read_decimal(item.get("factor"))
    except InvalidInputError:
        factor = item.get("factor")
    try:
        return checked(factor, item.get("reason", ""))
    except NoAnswerError as error:
        return error


def _without_url(error: Exception) -> str:
    """Return the kind of an error: its text may have the URL, whose query may hold a token."""
    cause = getattr(error, "reason", None) or error
    return type(cause).__name__
