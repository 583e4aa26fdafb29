"""Every address of the console × every caller, and of the API × staff (test_every_endpoint.py)."""

from typing import Any

import pytest
from nacl.public import PrivateKey

from common.permissions import Role
from tests.kept_rows import kept_rows
from tests.matrix import require_none
from tests.roles import staff
from tests.users.callers import PARTS, WORDS, Answer, Caller, fault, faults_at, make_victim
from tests.users.endpoints import Endpoint, Victim, endpoints
from tests.users.world import tenant

victim = kept_rows(make_victim)
PRIVATE = ("/api/v1/api-keys/", "/api/v1/channels/", "/api/v1/notifications/")
"""What no member of staff reads of others."""


@pytest.fixture(autouse=True)
def public_key(settings: Any) -> None:
    """Set the public key only, as in the web process."""
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = bytes(PrivateKey.generate().public_key)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = []


def console_endpoints(victim: Victim) -> list[Endpoint]:
    return [
        endpoint for endpoint in endpoints(victim, WORDS) if endpoint.path.startswith("/admin/")
    ]


@pytest.mark.exhaustive
def test_visitors_and_tenants_get_nothing_in_the_console(victim: Victim) -> None:
    found = console_endpoints(victim)
    assert len(found) > 200
    for user in (None, tenant("cuckoo").user):
        require_none(faults_at(found, Caller(victim, user), victim))


@pytest.mark.exhaustive
def test_staff_without_a_role_get_nothing_in_the_console(victim: Victim) -> None:
    caller = Caller(victim, staff(name="no-role"))
    require_none(faults_at(console_endpoints(victim), caller, victim))


def of_support(endpoint: Endpoint, answer: Answer, victim: Victim, sent: Any) -> str:
    """Return what is wrong with an answer to staff who read everything and change nothing."""
    if endpoint.path.startswith(PRIVATE):
        return fault(endpoint, answer, victim, sent)
    if answer.status >= 500:
        return "it failed"
    return "it changed the victim's rows" if answer.changed else ""


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(PARTS))
def test_support_reads_but_changes_nothing_of_a_tenant(victim: Victim, part: int) -> None:
    found = [
        endpoint
        for endpoint in endpoints(victim, WORDS)
        if endpoint.path.startswith(("/admin/", "/api/"))
    ]
    caller = Caller(victim, staff(Role.SUPPORT, name="support"))
    require_none(faults_at(found[part::PARTS], caller, victim, of_support))
