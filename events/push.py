"""Push messages to browsers: one request to the push service of a browser, with its outcome.

Sources: RFC 8030 (the protocol), RFC 8291 (the encryption), RFC 8292 (who we are: VAPID).
"""

import time
from dataclasses import dataclass, replace
from email.utils import parseaddr
from urllib.parse import urlsplit

from django.conf import settings
from py_vapid import Vapid02

from common.operational.current import settings_now
from events import push_keys
from events.http_post import Try, request
from events.push_content import PushContent
from events.push_encryption import encrypt

CLAIM_SECONDS = 12 * 3_600  # RFC 8292 §2: at most a day
GONE = (404, 410)  # the browser has ended its subscription
TOO_LARGE = 413
KEY_REFUSED = (400, 401, 403)
SERVER = "The push service"


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a browser hands out when it subscribes.

    browser_key, auth_secret: its `p256dh` and `auth`, as bytes.
    """

    endpoint: str
    browser_key: bytes
    auth_secret: bytes


def contact() -> str:
    """Return the address at which push services may reach the operators."""
    return settings_now().messages.push_contact or parseaddr(settings.DEFAULT_FROM_EMAIL)[1]


def send(subscription: Subscription, content: PushContent, *, key: str) -> Try:
    """Send a message once; if it is too large for the push service, once more without its text.

    key: the public key that the browser subscribed with. Not inside a transaction.
    """
    private = push_keys.signing_key(key)
    if private is None:
        return _without_key(key)
    tried = _post(subscription, content, private)
    if tried.status_code == TOO_LARGE:
        tried = _post(subscription, content.shortest(), private)
    if tried.status_code in KEY_REFUSED:
        detail = " It refuses the request, perhaps our key; the answer is in the delivery log."
        return replace(tried, error=tried.error + detail)
    return tried


def _without_key(key: str) -> Try:
    """A key that is gone ends the subscription; one that this process merely lacks does not."""
    if key == push_keys.offered_key() or not settings.FILLCAST_PUSH_PRIVATE_KEYS:
        return Try(None, 0, "", "FILLCAST_PUSH_PRIVATE_KEYS of the worker lacks the current key.")
    error = "This browser subscribed with a key that this installation no longer has."
    return Try(None, 0, "", error, is_final=True, is_gone=True)


def _post(subscription: Subscription, content: PushContent, private: bytes) -> Try:
    body = encrypt(
        content.payload(),
        browser_key=subscription.browser_key,
        auth_secret=subscription.auth_secret,
    )
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Encoding": "aes128gcm",
        "User-Agent": "Fillcast-Push/1",
        "TTL": str(content.ttl),
        "Urgency": content.urgency,
        **({"Topic": content.topic} if content.topic else {}),
        **_signed(subscription.endpoint, private),
    }
    url = subscription.endpoint
    return request(
        "POST", url, body=body, headers=headers, server=SERVER, final=(TOO_LARGE,), gone=GONE
    )


def _signed(endpoint: str, private: bytes) -> dict[str, str]:
    """Return the header that proves who sends. aud: only this push service may accept it."""
    parts = urlsplit(endpoint)
    claims = {
        "aud": f"{parts.scheme}://{parts.netloc}",
        "exp": int(time.time()) + CLAIM_SECONDS,
        "sub": f"mailto:{contact()}",
    }
    signed: dict[str, str] = Vapid02(push_keys.private_key_of(private)).sign(claims)
    return signed
