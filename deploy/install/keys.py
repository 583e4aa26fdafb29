"""Keys and passwords of a new installation, without any package."""

import base64
import secrets
import string

_PRIME = 2**255 - 19
_A24 = 121665
_BASE_POINT = 9
_TAG = string.ascii_lowercase + string.digits


def password() -> str:
    """Return a password of 192 bits: letters and digits only, since it is part of URLs."""
    return secrets.token_hex(24)


def secret_key() -> str:
    """Return what signs sessions and tokens."""
    return secrets.token_hex(48)


def installation_tag() -> str:
    """Return three random characters, a letter first: no program reads a number."""
    return secrets.choice(string.ascii_lowercase) + "".join(secrets.choice(_TAG) for _ in "12")


def credentials_key_pair() -> "tuple[str, str]":
    """Return the private and the public key for broker credentials, in base64."""
    private = secrets.token_bytes(32)
    return _text(private), _text(public_key_of(private))


def public_key_of(private: bytes) -> bytes:
    """Return the X25519 public key of a private key (RFC 7748, section 5).

    Not in constant time: it runs once, on the operator's own server, before anything else does.
    """
    scalar = int.from_bytes(private, "little") & ~7 & ~(1 << 255) | 1 << 254
    x2, z2, x3, z3 = 1, 0, _BASE_POINT, 1
    swapped = 0
    for position in range(254, -1, -1):
        bit = scalar >> position & 1
        if swapped != bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
        swapped = bit
        x2, z2, x3, z3 = _step(x2, z2, x3, z3)
    if swapped:
        x2, z2 = x3, z3
    return (x2 * pow(z2, _PRIME - 2, _PRIME) % _PRIME).to_bytes(32, "little")


def _step(x2: int, z2: int, x3: int, z3: int) -> "tuple[int, int, int, int]":
    """Return the next step of the Montgomery ladder; names as in the RFC."""
    a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
    aa, bb, da, cb = a * a % _PRIME, b * b % _PRIME, d * a % _PRIME, c * b % _PRIME
    e = (aa - bb) % _PRIME
    return (
        aa * bb % _PRIME,
        e * (aa + _A24 * e) % _PRIME,
        (da + cb) ** 2 % _PRIME,
        _BASE_POINT * (da - cb) ** 2 % _PRIME,
    )


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()
