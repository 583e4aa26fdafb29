"""One request to an address that a user entered, with its outcome."""

import time
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass

import urllib3

from common.operational.current import settings_now
from events.channels import SECONDS
from events.outbound import RefusedError, guarded

ANSWER_BYTES = 200
_TIMEOUT = urllib3.Timeout(connect=5.0, read=5.0)


@dataclass(frozen=True, slots=True)
class Try:
    """One request: what the server answered. status_code: None without an answer.

    is_final: trying again would not help. is_gone: the receiver has gone for good.
    """

    status_code: int | None
    duration_ms: int
    answer: str
    error: str
    is_final: bool = False
    retry_after: float = 0.0
    is_gone: bool = False


def request(
    method: str, url: str, *, body: bytes | None, headers: Mapping[str, str], server: str,
    final: Container[int] = (), gone: Container[int] = (),
) -> Try:  # fmt: skip
    """Send a request once, within SECONDS. Not inside a transaction. Follows no redirect.

    server: how errors name the other side. final, gone: statuses after which no try helps, and
    after which nothing more should be sent there.
    """
    began = time.monotonic()
    status, answer, error, retry_after, is_final = None, "", "", 0.0, False
    try:
        with (
            guarded(settings_now().networks.outbound_networks, seconds=SECONDS) as guard,
            urllib3.PoolManager(retries=False, timeout=_TIMEOUT) as pool,
        ):
            try:
                response = pool.request(
                    method, url, body=body, headers=dict(headers), redirect=False,
                    preload_content=False,
                )  # fmt: skip
                status, retry_after = response.status, guard.retry_after
                with suppress(urllib3.exceptions.HTTPError, OSError):  # the status is enough
                    answer = _readable(response.read(ANSWER_BYTES))
                response.close()
            except RefusedError:
                raise
            except (urllib3.exceptions.HTTPError, OSError) as caught:
                error = f"{server} gave no answer: {type(caught).__name__}."
    except RefusedError as refused:
        error, is_final = str(refused), True
    is_gone = status is not None and status in gone
    if status is not None and not 200 <= status < 300:
        error, is_final = f"{server} answered {status}.", is_gone or status in final
    duration = round((time.monotonic() - began) * 1000)
    return Try(status, duration, answer, error, is_final, retry_after, is_gone)


def _readable(raw: bytes) -> str:
    """Return bytes as text without control characters, which no page and no log should have."""
    text = raw[:ANSWER_BYTES].decode("utf-8", "replace")
    return "".join(character if character.isprintable() else " " for character in text).strip()
