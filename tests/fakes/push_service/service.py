"""A push service and the browsers that subscribe to it, at the level of the protocol.

It checks each request as RFC 8030 and RFC 8292 ask of a push service: TTL, Urgency, Topic, the
size, and the signature with its audience, end and contact, for the very key that the browser
subscribed with. Then it decrypts the message with the browser's keys, written from the receiver's
side of RFC 8291 and RFC 8188 without our encryption. It keeps a journal.
"""

import base64
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.fakes.http_server import serving_http

MAX_BODY = 4096
URGENCIES = {"very-low", "low", "normal", "high"}
Headers = dict[str, str]


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class BrowserSubscription:
    """A browser's side: its keys, and how it reads a message."""

    def __init__(self, endpoint: str, server_key: str) -> None:
        self.endpoint, self.server_key = endpoint, server_key
        self._private = ec.generate_private_key(ec.SECP256R1())
        self._auth = os.urandom(16)

    @property
    def p256dh(self) -> str:
        return b64(_point(self._private.public_key()))

    @property
    def auth(self) -> str:
        return b64(self._auth)

    def as_json(self) -> dict[str, Any]:
        """Return it as `PushSubscription.toJSON()` does."""
        keys = {"p256dh": self.p256dh, "auth": self.auth}
        return {"endpoint": self.endpoint, "expirationTime": None, "keys": keys}

    def decrypt(self, body: bytes) -> bytes:
        """Return the text of an `aes128gcm` body of one record. Raises InvalidTag, ValueError."""
        return decrypt(body, private=self._private, auth_secret=self._auth)


def decrypt(body: bytes, *, private: ec.EllipticCurvePrivateKey, auth_secret: bytes) -> bytes:
    salt, record_bytes, id_length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
    sender, record = body[21 : 21 + id_length], body[21 + id_length :]
    if not record_bytes >= 18 or len(record) > record_bytes:
        raise ValueError("not one record")
    shared = private.exchange(
        ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender)
    )
    own = _point(private.public_key())
    secret = _hkdf(auth_secret, shared, b"WebPush: info\x00" + own + sender, 32)
    key = _hkdf(salt, secret, b"Content-Encoding: aes128gcm\x00", 16)
    nonce = _hkdf(salt, secret, b"Content-Encoding: nonce\x00", 12)
    text = AESGCM(key).decrypt(nonce, record, None).rstrip(b"\x00")
    if text[-1:] != b"\x02":
        raise ValueError("not the last record")
    return text[:-1]


@dataclass
class Received:
    """One request that was in order. message: its text, decrypted."""

    headers: Headers
    message: dict[str, Any]
    claims: dict[str, Any]
    size: int


@dataclass
class Answer:
    """What the service answers instead of 201."""

    status: int
    headers: Headers = field(default_factory=dict)
    body: bytes = b""


@dataclass
class PushService:
    """answers: of the next requests, then 201. faults: what was wrong with requests."""

    port: int = 0
    journal: list[Received] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    requests: int = 0
    subscriptions: dict[str, BrowserSubscription] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def subscribe(self, server_key: str) -> BrowserSubscription:
        """Return a new browser's subscription for our public key."""
        path = f"/push/{b64(os.urandom(24))}"
        made = BrowserSubscription(self.origin + path, server_key)
        self.subscriptions[path] = made
        return made

    def unsubscribe(self, subscription: BrowserSubscription) -> None:
        """As when the user refuses notifications, or clears the browser's data."""
        self.subscriptions.pop(subscription.endpoint.removeprefix(self.origin))

    def answer_to(self, path: str, headers: Headers, body: bytes) -> Answer:
        self.requests += 1
        if self.answers:
            return self.answers.pop(0)
        subscription = self.subscriptions.get(path)
        if subscription is None:
            return Answer(410)
        status, fault, claims = self._check(subscription, headers, body)
        if fault:
            self.faults.append(fault)
            return Answer(status, body=fault.encode())
        message = json.loads(subscription.decrypt(body))
        self.journal.append(Received(headers, message, claims, len(body)))
        return Answer(201, {"Location": f"{self.origin}/message/{self.requests}"})

    def _check(
        self, subscription: BrowserSubscription, headers: Headers, body: bytes
    ) -> tuple[int, str, dict[str, Any]]:
        if len(body) > MAX_BODY:
            return 413, f"{len(body)} bytes", {}
        if headers.get("content-encoding") != "aes128gcm":
            return 400, "not aes128gcm", {}
        if not headers.get("ttl", "").isdigit():
            return 400, "no TTL", {}
        if headers.get("urgency", "normal") not in URGENCIES:
            return 400, "unknown urgency", {}
        topic = headers.get("topic")
        if topic is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", topic):
            return 400, "not a topic", {}
        return self._check_signature(subscription, headers.get("authorization", ""))

    def _check_signature(
        self, subscription: BrowserSubscription, header: str
    ) -> tuple[int, str, dict[str, Any]]:
        found = re.fullmatch(r"vapid t=([^,\s]+),\s*k=([^,\s]+)", header)
        if not found:
            return 401, "no VAPID header", {}
        token, key = found.groups()
        if key != subscription.server_key:
            return 403, "another key than that of the subscription", {}
        claims, fault = verified(token, key)
        if fault:
            return 403, fault, {}
        if claims.get("aud") != self.origin:
            return 403, f"audience {claims.get('aud')}", {}
        left = claims.get("exp", 0) - time.time()
        if not 0 < left <= 86_400:
            return 403, f"ends in {left} s", {}
        if not re.match(r"mailto:\S+@\S+|https://\S+", claims.get("sub", "")):
            return 403, "no contact", {}
        return 201, "", claims


def verified(token: str, key: str) -> tuple[dict[str, Any], str]:
    """Return the claims of a JWT, and '' if its ES256 signature is by this key."""
    head, claims, signature = token.split(".")
    if json.loads(unb64(head)) != {"typ": "JWT", "alg": "ES256"}:
        return {}, "not ES256"
    raw = unb64(signature)
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), unb64(key))
    try:
        public.verify(
            encode_dss_signature(r, s), f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256())
        )
    except InvalidSignature:
        return {}, "wrong signature"
    return dict(json.loads(unb64(claims))), ""


@contextmanager
def push_service() -> Iterator[PushService]:
    """Run a push service on a port of its own."""
    service = PushService()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = service.answer_to(self.path, headers, body)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: Any) -> None:
            pass

    with serving_http(Handler) as service.port:
        yield service


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _hkdf(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(secret)
