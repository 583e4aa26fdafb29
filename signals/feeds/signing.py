"""Signing keys of alert addresses, encrypted so that a copy of the database does not reveal them.

The encryption key is derived from the token's own secret, of which only the hash is stored, and
which each alert brings in its address. So the web process can decrypt the key only when an alert
comes, and there is no further key to keep or rotate.
"""

import base64

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from common.errors import InvalidInputError
from common.reason_codes import Code

# A secret of 192 random bits encrypts only one box, so one nonce is enough.
_NONCE = bytes(12)


def seal_signing_key(signing_key: str, secret: str, prefix: str) -> str:
    """Encrypt a key (64 hex digits) for the token with this secret and prefix."""
    box = _cipher(secret).encrypt(_NONCE, bytes.fromhex(signing_key), prefix.encode())
    return base64.urlsafe_b64encode(box).decode()


def open_signing_key(stored: str, secret: str, prefix: str) -> str:
    """Return the decrypted key; empty if none is stored, for alerts that are not signed.

    Raises InvalidInputError FEED_UNKNOWN if `stored` was not encrypted for this token.
    """
    if not stored:
        return ""
    try:
        box = base64.urlsafe_b64decode(stored)
        return _cipher(secret).decrypt(_NONCE, box, prefix.encode()).hex()
    except (InvalidTag, ValueError) as error:
        raise InvalidInputError(Code.FEED_UNKNOWN) from error


def _cipher(secret: str) -> ChaCha20Poly1305:
    key = HKDF(SHA256(), 32, salt=None, info=b"fillcast alert signing key").derive(secret.encode())
    return ChaCha20Poly1305(key)
