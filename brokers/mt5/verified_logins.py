"""Who may speak for an account: whose password its server has accepted in this process.

A terminal stays logged in, and several owners' accounts may share one. That the account is the one
that is wanted does not show that whoever asks is its owner: he must have said its password.
"""

import hmac
import secrets
from time import monotonic
from typing import TypeVar

from brokers.base import BrokerError
from brokers.types import ConnectionSpec
from common.reason_codes import Code

V = TypeVar("V")
RETRY_SECONDS = 300.0  # a wrong log-in throws the right one out of the terminal: not at each call
MAX_KEPT = 10_000


class TerminalUnavailableError(BrokerError):
    """The terminal, its server or the account is not there; nothing was asked of it."""


class VerifiedLogins:
    """Which credentials were accepted and refused; kept as digests under a key of this process."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._accepted: dict[bytes, None] = {}
        self._refused: dict[bytes, float] = {}

    def of(self, spec: ConnectionSpec, login: int) -> bytes:
        """Return the digest of a connection's credentials. Raises Away where it has no password,
        or one that was refused a moment ago."""
        password = spec.credentials.get("password")
        if not password:
            raise TerminalUnavailableError(
                Code.CREDENTIALS_REFUSED, f"no password to log in as {login}"
            )
        text = "\0".join((str(login), server_of(spec).lower(), password))
        proof = hmac.digest(self._key, text.encode(), "sha256")
        left = self._refused.get(proof, float("-inf")) + RETRY_SECONDS - monotonic()
        if left > 0:
            detail = (
                f"the server refused this password of {login}; it is not tried for {left:.0f} s"
            )
            raise TerminalUnavailableError(Code.CREDENTIALS_REFUSED, detail)
        return proof

    def has(self, proof: bytes) -> bool:
        """Whether these credentials were accepted."""
        return proof in self._accepted

    def accept(self, proof: bytes) -> None:
        self._refused.pop(proof, None)
        _remember(self._accepted, proof, None)

    def refuse(self, proof: bytes) -> None:
        self._accepted.pop(proof, None)
        _remember(self._refused, proof, monotonic())


def _remember(known: dict[bytes, V], proof: bytes, value: V) -> None:
    known[proof] = value
    while len(known) > MAX_KEPT:
        del known[next(iter(known))]


def login_of(spec: ConnectionSpec) -> int:
    """The account's number. Raises Away."""
    if not (spec.account.isascii() and spec.account.isdigit()):
        raise TerminalUnavailableError(Code.UNKNOWN_ACCOUNT, "a MetaTrader account is a number")
    return int(spec.account)


def server_of(spec: ConnectionSpec) -> str:
    return str(spec.settings.get("server") or spec.credentials.get("server") or "")
