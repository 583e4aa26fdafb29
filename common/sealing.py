"""Sealed boxes: the public key encrypts, only the private key decrypts.

A box is `version | key id | ephemeral public key | ciphertext`. X25519 with a new key pair for
each box, HKDF-SHA256, ChaCha20-Poly1305. The context (for example a row's id and owner) is
authenticated with it: a box that is moved to another row does not open.
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
    """The box does not open: it is no box, was changed, or has another key or row."""


def new_private_key() -> bytes:
    """Return a new private key of 32 bytes."""
    return X25519PrivateKey.generate().private_bytes_raw()


def public_key_of(private_key: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def key_id(public_key: bytes) -> bytes:
    """Return the id of a public key, which a box carries; it reveals nothing of the private key."""
    return hashlib.sha256(b"fillcast key id" + public_key).digest()[:KEY_ID]


def is_sealed_with_key(ciphertext: bytes | memoryview, public_key: bytes) -> bool:
    """Return whether a box was sealed with this public key; a key rotation looks for others."""
    return bytes(ciphertext[len(VERSION) : len(VERSION) + KEY_ID]) == key_id(public_key)


def seal(plaintext: bytes, *, context: bytes, public_key: bytes) -> bytes:
    """Encrypt `plaintext`; the box opens only with the private key and the same `context`."""
    ephemeral = X25519PrivateKey.generate()
    ephemeral_public = ephemeral.public_key().public_bytes_raw()
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public_key))
    cipher, nonce = _cipher(shared, ephemeral_public, public_key)
    header = VERSION + key_id(public_key) + ephemeral_public
    return header + cipher.encrypt(nonce, plaintext, header + context)


def open_sealed(
    ciphertext: bytes | memoryview, *, context: bytes, private_keys: Sequence[bytes]
) -> bytes:
    """Return what was sealed. Raises CannotOpenError, whose text holds nothing of the contents.

    private_keys: the current one and, during a rotation, older ones; the box names the right one.
    """
    box = bytes(ciphertext)  # PostgreSQL's driver returns a memoryview
    if len(box) < HEADER + TAG or box[: len(VERSION)] != VERSION:
        raise CannotOpenError("This is not a sealed box.")
    header, box_key_id = box[:HEADER], box[len(VERSION) : len(VERSION) + KEY_ID]
    for private_key in private_keys:
        public_key = public_key_of(private_key)
        if key_id(public_key) == box_key_id:
            break
    else:
        raise CannotOpenError(f"No private key here is that of the box ({box_key_id.hex()}).")
    ephemeral_public = header[-KEY:]
    try:
        shared = X25519PrivateKey.from_private_bytes(private_key).exchange(
            X25519PublicKey.from_public_bytes(ephemeral_public)
        )
        cipher, nonce = _cipher(shared, ephemeral_public, public_key)
        return cipher.decrypt(nonce, box[HEADER:], header + context)
    except (InvalidTag, ValueError) as error:  # ValueError: a public key of low order
        raise CannotOpenError("The box was changed, or belongs to another row.") from error


def _cipher(
    shared: bytes, ephemeral_public: bytes, recipient_public: bytes
) -> tuple[ChaCha20Poly1305, bytes]:
    """Derive key and nonce. Each box has its own ephemeral key, so no nonce is used twice."""
    derived = HKDF(
        algorithm=SHA256(),
        length=KEY + NONCE,
        salt=None,
        info=b"fillcast seal v1" + ephemeral_public + recipient_public,
    ).derive(shared)
    return ChaCha20Poly1305(derived[:KEY]), derived[KEY:]
