"""Password hashes that were made before the request's transaction began, for `User` to use.

A hash takes 0.3 seconds of a processor, longer when many are made at once, and the database ends
transactions that idle. So the pages that take a password have it hashed first
(users/sign_in/new_passwords.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from django.contrib.auth.hashers import make_password

from users.password_slots import slots


@dataclass(slots=True)
class Prepared:
    """The hashes of the current request by password, and its checks by hash and password."""

    hashes: dict[str, str] = field(default_factory=dict)
    checks: dict[tuple[str, str], bool] = field(default_factory=dict)


_prepared: ContextVar[Prepared | None] = ContextVar("prepared_passwords", default=None)


@contextmanager
def using(prepared: Prepared) -> Iterator[None]:
    """Let `hashed` and `known_check` use these inside the block."""
    token = _prepared.set(prepared)
    try:
        yield
    finally:
        _prepared.reset(token)


def hashed(password: str) -> str:
    """Return a password's hash: the prepared one, or a new one. Raises SlotsBusyError."""
    prepared = _prepared.get()
    if prepared is not None and password in prepared.hashes:
        return prepared.hashes[password]
    with slots.slot():
        return make_password(password)


def known_check(encoded: str, password: str) -> bool | None:
    """Return whether the password matches this hash; None if that was not checked before."""
    prepared = _prepared.get()
    return prepared.checks.get((encoded, password)) if prepared is not None else None
