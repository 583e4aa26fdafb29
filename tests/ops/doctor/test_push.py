"""The doctor's check of the keys and the contact of push messages."""

import pytest
from pytest_django import Settings

from brokers.types import CheckResult
from events.push_keys import new_private_key, public_key_of
from ops.doctor.examination import examine
from ops.doctor.push import judge_push_keys, push_keys
from ops.doctor.verdicts import FAIL, OK, WARN

OLD, NEW = new_private_key(), new_private_key()
CONTACT = "push@example.com"


@pytest.mark.parametrize(
    ("public", "private", "is_web", "verdict", "sentence"),
    [
        (None, (), False, OK, "off"),
        (None, (NEW,), False, FAIL, "FILLCAST_PUSH_PUBLIC_KEY"),
        (public_key_of(NEW), (), True, OK, "Browsers can subscribe"),
        (public_key_of(NEW), (), False, FAIL, "FILLCAST_PUSH_PRIVATE_KEYS"),
        (public_key_of(NEW), (NEW,), False, OK, "The pair matches"),
        (public_key_of(NEW), (NEW, OLD), False, OK, "1 for older subscriptions"),
        (public_key_of(NEW), (OLD,), False, FAIL, "No private key here belongs"),
        (public_key_of(OLD), (NEW, OLD), False, WARN, "an older key"),
    ],
    ids=["off", "no-public-key", "web", "no-private-key", "pair", "two", "mismatch", "older"],
)
def test_verdict_on_push_keys(
    public: bytes | None,
    private: tuple[bytes, ...],
    is_web: bool,
    verdict: CheckResult,
    sentence: str,
) -> None:
    found = judge_push_keys(public, private, contact=CONTACT, is_web=is_web)
    assert found.result is verdict
    assert sentence in f"{found.detail} {found.hint}"
    assert bool(found.hint) is (verdict is not OK)


@pytest.mark.parametrize(
    "contact", ["", "push", "push@", "@example.com", "push@localhost", "a b@example.com", "a@b..c"]
)
def test_contact_that_push_services_refuse_fails(contact: str) -> None:
    found = judge_push_keys(public_key_of(NEW), (NEW,), contact=contact, is_web=False)
    assert found.result is FAIL
    assert "push_contact" in found.hint


@pytest.mark.django_db
def test_doctor_names_a_pair_that_does_not_match(settings: Settings) -> None:
    settings.FILLCAST_PUSH_PUBLIC_KEY = public_key_of(NEW)
    settings.FILLCAST_PUSH_PRIVATE_KEYS = (OLD,)
    found = {check.name: check for check in examine(before=[], database=[("push keys", push_keys)])}
    assert found["push keys"].result is FAIL
