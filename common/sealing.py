"""Sealed boxes: whoever has the public key can close one, only the private key's holder opens it.

A box is `version | key id | ephemeral public key | ciphertext`. X25519 with a fresh key pair for
each box, HKDF-SHA256, ChaCha20-Poly1305. The context (for example a row's id and owner) is
authenticated with it: a box that is moved to another row does not open there.
"""

import hashlib
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VERSION = b"\x01"
KEY, KEY_ID, NONCE, TAG = 32, 8, 12, 16
HEADER = len(VERSION) + KEY_ID + KEY


class CannotOpenError(Exception):
    """A box that does not open: not ours, another key's, another row's, or changed."""


def new_private_key() -> bytes:
    """Return a fresh private key of 32 bytes."""
    return X25519PrivateKey.generate().private_bytes_raw()


def public_key_of(private_key: bytes) -> bytes:
    """Return the public key that closes what `private_key` opens."""
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def key_id(public_key: bytes) -> bytes:
    """Return the name by which a box tells whose it is; says nothing about the private key."""
    return hashlib.sha256(b"fillcast key id" + public_key).digest()[:KEY_ID]


def sealed_for(ciphertext: bytes | memoryview, public_key: bytes) -> bool:
    """Return whether a box was closed with this public key: a rotation finds the old ones by it."""
    return bytes(ciphertext[len(VERSION) : len(VERSION) + KEY_ID]) == key_id(public_key)


def seal(plaintext: bytes, *, context: bytes, public_key: bytes) -> bytes:
    """Return a box with `plaintext` that opens only with the private key and the same `context`."""
    ephemeral = X25519PrivateKey.generate()
    ours = ephemeral.public_key().public_bytes_raw()
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public_key))
    cipher, nonce = _cipher(shared, ours, public_key)
    header = VERSION + key_id(public_key) + ours
    return header + cipher.encrypt(nonce, plaintext, header + context)


def open_sealed(
    ciphertext: bytes | memoryview, *, context: bytes, private_keys: Sequence[bytes]
) -> bytes:
    """Return what was sealed. Raises CannotOpenError, which never holds anything of the contents.

    private_keys: the present one and, during a rotation, older ones; the box names its own.
    """
    box = bytes(ciphertext)  # PostgreSQL's driver hands out a memoryview
    if len(box) < HEADER + TAG or box[: len(VERSION)] != VERSION:
        raise CannotOpenError("This is not a sealed box.")
    header, wanted = box[:HEADER], box[len(VERSION) : len(VERSION) + KEY_ID]
    for private_key in private_keys:
        public_key = public_key_of(private_key)
        if key_id(public_key) == wanted:
            break
    else:
        raise CannotOpenError(f"No private key here is that of the box ({wanted.hex()}).")
    ours = header[-KEY:]
    try:
        shared = X25519PrivateKey.from_private_bytes(private_key).exchange(
            X25519PublicKey.from_public_bytes(ours)
        )
        cipher, nonce = _cipher(shared, ours, public_key)
        return cipher.decrypt(nonce, box[HEADER:], header + context)
    except (InvalidTag, ValueError) as error:  # ValueError: a public key of low order
        raise CannotOpenError("The box was changed, or belongs to another row.") from error


def _cipher(shared: bytes, ours: bytes, theirs: bytes) -> tuple[ChaCha20Poly1305, bytes]:
    """Derive key and nonce. One box has one ephemeral key, so a nonce is never used twice."""
    derived = HKDF(
        algorithm=SHA256(), length=KEY + NONCE, salt=None, info=b"fillcast seal v1" + ours + theirs
    ).derive(shared)
    return ChaCha20Poly1305(derived[:KEY]), derived[KEY:]
