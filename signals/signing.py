"""Signing keys of alert addresses, sealed so that a copy of the database does not show them.

The key of the box is made of the token's own secret, which is stored nowhere (only its hash is) and
which each alert brings in its address. So the web process opens the box when an alert comes, and
only then; there is no further key to keep or to rotate.
"""

import base64
import re

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from common.errors import InvalidInputError
from common.reason_codes import Code

# A secret of 192 random bits closes one box in its life, so one nonce is enough.
_NONCE = bytes(12)
_PLAIN = re.compile("[0-9a-f]{64}")


def seal_signing_key(signing_key: str, secret: str, prefix: str) -> str:
    """Return the box of a key (64 hex digits) for the token of this secret and prefix."""
    box = _cipher(secret).encrypt(_NONCE, bytes.fromhex(signing_key), prefix.encode())
    return base64.urlsafe_b64encode(box).decode()


def open_signing_key(stored: str, secret: str, prefix: str) -> str:
    """Return the key. One from before keys were sealed is returned as it is stored.

    Raises InvalidInputError FEED_UNKNOWN for a box of another token, or none.
    """
    if not is_sealed(stored):
        return stored
    try:
        box = base64.urlsafe_b64decode(stored)
        return _cipher(secret).decrypt(_NONCE, box, prefix.encode()).hex()
    except (InvalidTag, ValueError) as error:
        raise InvalidInputError(Code.FEED_UNKNOWN) from error


def is_sealed(stored: str) -> bool:
    """Whether it is a box, and not a key from before keys were sealed."""
    return stored != "" and _PLAIN.fullmatch(stored) is None


def _cipher(secret: str) -> ChaCha20Poly1305:
    made = HKDF(SHA256(), 32, salt=None, info=b"fillcast alert signing key").derive(secret.encode())
    return ChaCha20Poly1305(made)
