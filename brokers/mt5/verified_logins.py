"""Which connections may use an account: those whose password its server has accepted.

A terminal stays logged in, and several owners' accounts may share it. That it is logged in to the
right account does not prove that a connection belongs to the account's owner; the password does.
"""

import hmac
import secrets
from time import monotonic
from typing import TypeVar

from brokers.base import BrokerError
from brokers.types import ConnectionSpec
from common.reason_codes import Code

V = TypeVar("V")
RETRY_SECONDS = 300.0  # a failed log-in logs the terminal out, so do not retry at each call
MAX_KEPT = 10_000


class TerminalUnavailableError(BrokerError):
    """The terminal, its server or the account is not available; the call was not made."""


class VerifiedLogins:
    """Accepted and refused credentials, as digests under a key of this process."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._accepted: dict[bytes, None] = {}
        self._refused: dict[bytes, float] = {}

    def digest_of(self, spec: ConnectionSpec, login: int) -> bytes:
        """Return the digest of a connection's credentials.

        Raises TerminalUnavailableError without a password, or if the server has refused it within
        RETRY_SECONDS."""
        password = spec.credentials.get("password")
        if not password:
            raise TerminalUnavailableError(
                Code.CREDENTIALS_REFUSED, f"no password to log in as {login}"
            )
        text = "\0".join((str(login), server_of(spec).lower(), password))
        digest = hmac.digest(self._key, text.encode(), "sha256")
        left = self._refused.get(digest, float("-inf")) + RETRY_SECONDS - monotonic()
        if left > 0:
            detail = f"the server refused this password of {login}; next attempt in {left:.0f} s"
            raise TerminalUnavailableError(Code.CREDENTIALS_REFUSED, detail)
        return digest

    def is_accepted(self, digest: bytes) -> bool:
        """Whether these credentials were accepted."""
        return digest in self._accepted

    def accept(self, digest: bytes) -> None:
        """Note that the server accepted these credentials."""
        self._refused.pop(digest, None)
        _remember(self._accepted, digest, None)

    def refuse(self, digest: bytes) -> None:
        """Note that the server refused these credentials."""
        self._accepted.pop(digest, None)
        _remember(self._refused, digest, monotonic())


def _remember(known: dict[bytes, V], digest: bytes, value: V) -> None:
    known[digest] = value
    while len(known) > MAX_KEPT:
        del known[next(iter(known))]


def login_of(spec: ConnectionSpec) -> int:
    """Return the account's number. Raises TerminalUnavailableError if it is not a number."""
    if not (spec.account.isascii() and spec.account.isdigit()):
        raise TerminalUnavailableError(Code.UNKNOWN_ACCOUNT, "a MetaTrader account is a number")
    return int(spec.account)


def server_of(spec: ConnectionSpec) -> str:
    """Return the name of the account's trade server; '' if it is not set."""
    return str(spec.settings.get("server") or spec.credentials.get("server") or "")
