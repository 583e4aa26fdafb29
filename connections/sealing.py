"""Encrypt and decrypt credentials: any process seals them, only trading processes open them.

A row stores a sequence of sealed boxes (`common.sealing`). Each box holds some names and values,
and later boxes override earlier ones. So the web process can change one value without reading the
others. A box is bound to the connection's id, its owner and its index in the sequence: moved to
another row, owner or index it does not open.
"""

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from uuid import UUID

from django.conf import settings

from common.errors import FillcastError, MisconfiguredError
from common.reason_codes import Code
from common.sealing import CannotOpenError, is_sealed_with_key, open_sealed, public_key_of, seal

MAX_BOXES = 64
_LENGTH = struct.Struct(">I")


class CredentialsError(FillcastError):
    """Stored credentials cannot be opened here. The message has no part of their content."""


def sealing_key() -> bytes:
    """Return the public key that seals boxes. Raises MisconfiguredError if there is none."""
    key: bytes | None = settings.FILLCAST_CREDENTIALS_PUBLIC_KEY
    if key is None and settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS:
        return public_key_of(settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS[0])
    if key is None:
        raise MisconfiguredError(
            "FILLCAST_CREDENTIALS_PUBLIC_KEY is not set, so no credentials can be stored. "
            "`manage.py rotate_credentials_key --new` prints a pair of keys."
        )
    return key


def opening_keys() -> Sequence[bytes]:
    """Return the private keys, newest first. Raises MisconfiguredError if there are none."""
    keys: Sequence[bytes] = settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS
    if not keys:
        raise MisconfiguredError(
            "Credentials open in trading processes only: FILLCAST_CREDENTIALS_PRIVATE_KEYS "
            "is not set here."
        )
    return keys


def seal_credentials(
    values: Mapping[str, str],
    *,
    connection_id: UUID,
    owner_id: int,
    after: bytes | memoryview | None = None,
) -> bytes:
    """Return the bytes to store for `values`. after: the stored bytes to which to add them.

    Raises FillcastError STATE_CONFLICT after too many single changes: then all values must be
    entered together, which replaces all boxes.
    """
    before = bytes(after or b"")
    boxes = list(_boxes(before))
    if len(boxes) >= MAX_BOXES:
        raise FillcastError(Code.STATE_CONFLICT, "Enter all credentials again, not only one.")
    box = seal(
        json.dumps(dict(values)).encode(),
        context=_context(connection_id, owner_id, len(boxes)),
        public_key=sealing_key(),
    )
    return before + _LENGTH.pack(len(box)) + box


def open_credentials(
    sealed: bytes | memoryview | None, *, connection_id: UUID | str, owner_id: int
) -> dict[str, str]:
    """Return the stored names and values; {} if there are none.

    Raises CredentialsError NO_CREDENTIALS if they do not open: they belong to another row or owner,
    were changed, or are sealed for a key that this process does not have. Raises MisconfiguredError
    without private keys.
    """
    if not sealed:
        return {}
    return dict(_open(bytes(sealed), connection_id, owner_id, tuple(opening_keys())))


# Cached by ciphertext, so that a claim of 250 orders does not compute 250 key agreements.
@lru_cache(maxsize=20_000)
def _open(
    sealed: bytes, connection_id: UUID, owner_id: int, keys: tuple[bytes, ...]
) -> tuple[tuple[str, str], ...]:
    values: dict[str, str] = {}
    try:
        for index, box in enumerate(_boxes(sealed)):
            context = _context(connection_id, owner_id, index)
            values |= json.loads(open_sealed(box, context=context, private_keys=keys))
    except (CannotOpenError, struct.error) as error:
        raise CredentialsError(
            Code.NO_CREDENTIALS,
            f"The stored credentials do not open ({error}) Enter them again.",
        ) from None
    return tuple(values.items())


def are_credentials_sealed_with_key(sealed: bytes | memoryview, public_key: bytes) -> bool:
    """Return whether all boxes are sealed for this key; otherwise they must be resealed."""
    return all(is_sealed_with_key(box, public_key) for box in _boxes(bytes(sealed)))


def _boxes(sealed: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(sealed):
        (length,) = _LENGTH.unpack_from(sealed, position)
        position += _LENGTH.size
        yield sealed[position : position + length]
        position += length


def _context(connection_id: UUID, owner_id: int, index: int) -> bytes:
    return f"connection {connection_id} of {owner_id}, {index}".encode()


def credentials_digest(sealed: bytes | memoryview | None) -> str:
    """Return the SHA-256 of sealed credentials; '' if there are none."""
    return sha256(sealed).hexdigest() if sealed else ""
