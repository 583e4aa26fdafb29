"""The encryption of push messages: only the browser that subscribed can read one. Pure.

One record of `aes128gcm`, with a key that follows from a key pair made for this message alone and
the browser's own. Sources: RFC 8291 §3.4 and §4, RFC 8188 §2. docs/adr/0046 states why it is here.
"""

import os
import struct

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from events.push_keys import CURVE, PUBLIC_BYTES, point_of

RECORD_BYTES = 4096  # RFC 8291 §4: what every push service and browser takes
SALT_BYTES, TAG_BYTES = 16, 16
HEADER_BYTES = SALT_BYTES + 4 + 1 + PUBLIC_BYTES
OVERHEAD_BYTES = HEADER_BYTES + 1 + TAG_BYTES
LAST_RECORD = b"\x02"


def encrypt(
    payload: bytes, *, browser_key: bytes, auth_secret: bytes,
    salt: bytes | None = None, sender: ec.EllipticCurvePrivateKey | None = None,
) -> bytes:  # fmt: skip
    """Return the body of a push message. Raises ValueError for a key that is no point, or a payload
    that is too long for one record.

    browser_key, auth_secret: `p256dh` and `auth` of the subscription. salt, sender: for tests only;
    both must be new for each message.
    """
    if len(payload) + OVERHEAD_BYTES > RECORD_BYTES:
        raise ValueError(f"{len(payload)} bytes are too many for one record.")
    salt = os.urandom(SALT_BYTES) if salt is None else salt
    sender = ec.generate_private_key(CURVE) if sender is None else sender
    sender_point = point_of(sender.public_key())
    receiver = ec.EllipticCurvePublicKey.from_encoded_point(CURVE, browser_key)
    shared = sender.exchange(ec.ECDH(), receiver)
    info = b"WebPush: info\0" + browser_key + sender_point
    secret = _derived(shared, salt=auth_secret, info=info, length=32)
    key = _derived(secret, salt=salt, info=b"Content-Encoding: aes128gcm\0", length=16)
    nonce = _derived(secret, salt=salt, info=b"Content-Encoding: nonce\0", length=12)
    header = salt + struct.pack("!LB", RECORD_BYTES, len(sender_point)) + sender_point
    return header + AESGCM(key).encrypt(nonce, payload + LAST_RECORD, None)


def _derived(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)
