"""The keys with which this installation identifies itself to push services (VAPID, RFC 8292).

A browser subscribes for one public key, and its push service accepts messages only with that key's
signature. The web process hands out the public key; only trading processes have the private ones,
newest first, so that subscriptions with an older key work until their browser makes a new one.
"""

import base64
import hashlib
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings

CURVE = ec.SECP256R1()
PRIVATE_BYTES, PUBLIC_BYTES = 32, 65


def new_private_key() -> bytes:
    """Return a new private key: 32 bytes."""
    number = ec.generate_private_key(CURVE).private_numbers().private_value
    return number.to_bytes(PRIVATE_BYTES, "big")


def derived_private_key(secret: str) -> bytes:
    """Return the private key of an installation that has only a secret: always the same one."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256
    digest = hashlib.sha512(b"fillcast push key\0" + secret.encode()).digest()
    return (int.from_bytes(digest, "big") % (order - 1) + 1).to_bytes(PRIVATE_BYTES, "big")


@cache
def private_key_of(raw: bytes) -> ec.EllipticCurvePrivateKey:
    """Return the private key of these 32 bytes. Raises ValueError."""
    return ec.derive_private_key(int.from_bytes(raw, "big"), CURVE)


def public_key_of(raw: bytes) -> bytes:
    """Return the public key of a private one: 65 bytes, an uncompressed point."""
    return point_of(private_key_of(raw).public_key())


def point_of(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return a public key as an uncompressed point."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def checked_point(raw: bytes) -> bytes:
    """Return an uncompressed point of the curve as it is. Raises ValueError for anything else."""
    if len(raw) != PUBLIC_BYTES:
        raise ValueError(f"{len(raw)} bytes")
    return point_of(ec.EllipticCurvePublicKey.from_encoded_point(CURVE, raw))


def encoded(raw: bytes) -> str:
    """Return bytes as base64url without padding, as all of web push writes them."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """Return the bytes of base64url, with or without padding. Raises ValueError."""
    if not text.isascii() or set(text) & {"+", "/", "\n"}:
        raise ValueError(text)
    return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), b"-_", True)


def offered_key() -> str:
    """Return the public key that browsers subscribe with; '' if push messages are off."""
    key = settings.FILLCAST_PUSH_PUBLIC_KEY
    return encoded(key) if key else ""


def signing_key(public: str) -> bytes | None:
    """Return the private key of a public one (base64url); None if this process lacks it."""
    for raw in settings.FILLCAST_PUSH_PRIVATE_KEYS:
        if encoded(public_key_of(raw)) == public:
            return bytes(raw)
    return None
