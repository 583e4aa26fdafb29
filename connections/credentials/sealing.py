"""Credentials of broker accounts: any process seals, only trading processes open.

What is stored is a row of boxes (`common.sealing`), each holding some of the names and values; the
later one wins. So the web process changes one value without being able to read the others. The
context of a box is the connection's id, its owner and its place in the row: moved to another row,
another owner or another place it does not open.
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
from common.sealing import CannotOpenError, open_sealed, public_key_of, seal, sealed_for

MAX_BOXES = 64
_LENGTH = struct.Struct(">I")


class CredentialsError(FillcastError):
    """Stored credentials do not open here. Says why, and never what is in them."""


def sealing_key() -> bytes:
    """Return the public key that closes boxes. Raises MisconfiguredError if there is none."""
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
    """Return the private keys, newest first. Raises MisconfiguredError where there are none."""
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
    """Return what to store for `values`; after: what is stored already and is added to.

    Raises FillcastError STATE_CONFLICT when too many single changes were added: then all values
    must be entered together (which replaces the row of boxes).
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
    sealed: bytes | memoryview | None, *, connection_id: UUID, owner_id: int
) -> dict[str, str]:
    """Return the names and values that are stored ({} for none).

    Raises CredentialsError NO_CREDENTIALS if they do not open (another row's, another owner's,
    changed, or sealed for a key that is not here); MisconfiguredError without private keys.
    """
    if not sealed:
        return {}
    return dict(_open(bytes(sealed), connection_id, owner_id, tuple(opening_keys())))


# A claim of 250 orders must not compute 250 key agreements: what was opened is kept, by ciphertext.
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


def is_sealed_for(sealed: bytes | memoryview, public_key: bytes) -> bool:
    """Whether all of it was sealed for this key: what is not has to be sealed again."""
    return all(sealed_for(box, public_key) for box in _boxes(bytes(sealed)))


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
    """Return the mark of sealed credentials; '' where there are none."""
    return sha256(sealed).hexdigest() if sealed else ""
