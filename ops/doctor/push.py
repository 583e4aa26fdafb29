"""The doctor's check of push messages: the key pair, and whom push services may reach.

Source: RFC 8292 §2.1 (the subject of a signed request) and §3.2 (the public key of browsers).
"""

from collections.abc import Sequence

from django.conf import settings

from brokers.types import Check
from events.push import contact as push_contact
from events.push_keys import public_key_of
from ops.doctor.verdicts import failure, warning, well

NAME = "push keys"
MAKE = "Make a pair with `manage.py vapid_key` and set both, then restart all processes."


def push_keys() -> Check:
    """Check the keys and the contact with which push messages are signed."""
    return judge_push_keys(
        settings.FILLCAST_PUSH_PUBLIC_KEY,
        settings.FILLCAST_PUSH_PRIVATE_KEYS,
        contact=push_contact(),
        is_web=settings.FILLCAST_DB_ROLE == "web",
    )


def judge_push_keys(
    public: bytes | None, private: Sequence[bytes], *, contact: str, is_web: bool
) -> Check:
    """Judge the keys. is_web: of a process that sends nothing, and has no private key."""
    if public is None and not private:
        return well(NAME, "No key is set: push messages of browsers are off.")
    if public is None:
        detail = "Only the private key is set: browsers cannot subscribe."
        return failure(NAME, detail, f"Set FILLCAST_PUSH_PUBLIC_KEY. {MAKE}")
    if not is_web and not private:
        detail = "Only the public key is set: browsers subscribe, and no message can be signed."
        remedy = f"Set FILLCAST_PUSH_PRIVATE_KEYS for workers. If that key is lost: {MAKE}"
        return failure(NAME, detail, remedy)
    if private and (found := _mismatch(public, private)) is not None:
        return found
    if not _is_reachable(contact):
        detail = f"The contact {contact!r} is no address on the internet: push services refuse it."
        return failure(
            NAME,
            detail,
            "Set messages.push_contact to an e-mail address of yours (console: Settings).",
        )
    if not private:
        return well(NAME, f"Browsers can subscribe; contact {contact}. Workers have the key.")
    more = f", and {len(private) - 1} for older subscriptions" if len(private) > 1 else ""
    return well(NAME, f"The pair matches{more}; contact {contact}.")


def _mismatch(public: bytes, private: Sequence[bytes]) -> Check | None:
    points = [public_key_of(raw) for raw in private]
    if public not in points:
        detail = "No private key here belongs to the public key: every message would be refused."
        remedy = (
            "Put the private key of FILLCAST_PUSH_PUBLIC_KEY first in FILLCAST_PUSH_PRIVATE_KEYS."
            f" If it is lost: {MAKE}"
        )
        return failure(NAME, detail, remedy)
    if points[0] != public:
        detail = "Browsers still subscribe with an older key."
        return warning(
            NAME, detail, "Set FILLCAST_PUSH_PUBLIC_KEY to the public key of the first private key."
        )
    return None


def _is_reachable(contact: str) -> bool:
    """Whether it can be the `mailto:` subject of a signed request."""
    name, at, host = contact.rpartition("@")
    labels = host.split(".")
    has_space = any(letter.isspace() for letter in contact)
    return bool(name and at and len(labels) > 1 and all(labels)) and not has_space
