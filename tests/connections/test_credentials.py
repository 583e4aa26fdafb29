"""Credentials: written anywhere, read in trading processes, bound to their row and owner."""

import json
from collections.abc import Callable
from uuid import uuid4

import pytest
from django.core import serializers
from pytest_django import Settings

from common.errors import FillcastError, MisconfiguredError
from common.sealing import new_private_key, public_key_of
from connections import sealing
from connections.models import ExecutionConnection
from connections.sealing import (
    CredentialsError,
    are_credentials_sealed_with_key,
    open_credentials,
)
from connections.selectors import spec_for, spec_from_row
from tests.connections import make

pytestmark = pytest.mark.django_db
CANARY = "c4nary-Pa55word-🐤"


@pytest.fixture
def alices() -> ExecutionConnection:
    return make.connection(sealed_credentials=None)


def test_one_credential_is_read_back(alices: ExecutionConnection) -> None:
    assert alices.get_credential("password") is None
    assert alices.get_credential("password", "none") == "none"
    alices.set_credential("password", CANARY)
    alices.set_credential("login", "7")
    alices.set_credential("password", CANARY + "2")
    fresh = ExecutionConnection.objects.get(pk=alices.pk)
    assert fresh.get_credential("password") == CANARY + "2"
    assert fresh.open_credentials() == {"password": CANARY + "2", "login": "7"}
    assert fresh.credentials_changed_at is not None


def test_credentials_are_replaced_and_removed(alices: ExecutionConnection) -> None:
    alices.set_credential("old", "x")
    alices.set_credentials({"new": "y"})
    assert alices.open_credentials() == {"new": "y"}
    alices.set_credentials({})
    assert ExecutionConnection.objects.get(pk=alices.pk).sealed_credentials is None


def test_web_process_adds_to_credentials_it_cannot_read(
    alices: ExecutionConnection, web: Callable[[], None], settings: Settings
) -> None:
    alices.set_credential("login", "7")
    private = settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS
    web()
    alices.set_credential("password", CANARY)
    with pytest.raises(MisconfiguredError, match="trading processes only"):
        alices.get_credential("password")
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = private
    assert alices.open_credentials() == {"login": "7", "password": CANARY}


def test_nothing_readable_is_stored(alices: ExecutionConnection) -> None:
    alices.set_credentials({"password": CANARY})
    stored = bytes(ExecutionConnection.objects.get(pk=alices.pk).sealed_credentials or b"")
    assert CANARY.encode() not in stored
    assert json.dumps(CANARY)[1:-1].encode() not in stored


def test_ciphertext_moved_to_another_row_does_not_open(alices: ExecutionConnection) -> None:
    alices.set_credentials({"password": CANARY})
    same_owner = make.connection(alices.user, sealed_credentials=alices.sealed_credentials)
    with pytest.raises(CredentialsError, match="Enter them again"):
        same_owner.get_credential("password")


def test_row_moved_to_another_owner_does_not_open(alices: ExecutionConnection) -> None:
    alices.set_credentials({"password": CANARY})
    ExecutionConnection.objects.filter(pk=alices.pk).update(user=make.user())
    with pytest.raises(CredentialsError):
        ExecutionConnection.objects.get(pk=alices.pk).get_credential("password")


def test_reordered_ciphertexts_do_not_open(alices: ExecutionConnection) -> None:
    """Else an older password could be put behind the newer one."""
    alices.set_credential("password", "old")
    first = bytes(alices.sealed_credentials or b"")
    alices.set_credential("password", "new")
    both = bytes(alices.sealed_credentials or b"")
    alices.sealed_credentials = both[len(first) :] + first
    with pytest.raises(CredentialsError):
        alices.get_credential("password")


@pytest.mark.parametrize("stored", [b"\x00", b"\x00\x00\x00\x05ab", b"no box at all" * 9])
def test_malformed_credentials_are_refused_with_message(
    alices: ExecutionConnection, stored: bytes
) -> None:
    alices.sealed_credentials = stored
    with pytest.raises(CredentialsError):
        alices.open_credentials()


def test_number_of_single_changes_is_limited(
    alices: ExecutionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "MAX_BOXES", 2)
    alices.set_credential("a", "1")
    alices.set_credential("b", "2")
    with pytest.raises(FillcastError, match="all credentials again"):
        alices.set_credential("c", "3")


def test_missing_key_error_names_the_setting(
    alices: ExecutionConnection, settings: Settings
) -> None:
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = None
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = ()
    with pytest.raises(MisconfiguredError, match="FILLCAST_CREDENTIALS_PUBLIC_KEY is not set"):
        alices.set_credential("password", CANARY)


def test_older_key_opens_until_removed(
    alices: ExecutionConnection, keys: bytes, settings: Settings
) -> None:
    alices.set_credential("login", "7")
    new = new_private_key()
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(new)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (new, keys)
    alices.set_credential("password", CANARY)
    assert alices.open_credentials() == {"login": "7", "password": CANARY}
    assert not are_credentials_sealed_with_key(alices.sealed_credentials or b"", public_key_of(new))
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (new,)
    with pytest.raises(CredentialsError, match="No private key here"):
        alices.open_credentials()


class Row:
    type, exchange_name, account, settings, identity = "paper", "", "7", {"a": 1}, "77 spot"
    identity_credentials_digest = ""

    def __init__(self, of: ExecutionConnection, owner_id: int) -> None:
        self.connection_id, self.owner_id = of.pk, owner_id
        self.sealed_credentials = of.sealed_credentials


def test_adapter_receives_decrypted_credentials(alices: ExecutionConnection) -> None:
    alices.set_credentials({"password": CANARY})
    spec = spec_for(alices)
    assert (spec.connection_id, spec.account) == (str(alices.pk), alices.account)
    assert spec.credentials == {"password": CANARY}
    spec = spec_from_row(Row(alices, alices.owner_id))
    assert (spec.credentials, spec.identity) == ({"password": CANARY}, "77 spot")


def test_undecryptable_row_does_not_fail_its_bundle(alices: ExecutionConnection) -> None:
    alices.set_credentials({"password": CANARY})
    spec = spec_from_row(Row(alices, alices.owner_id + 1))
    assert spec.credentials == {}
    with pytest.raises(CredentialsError):
        open_credentials(alices.sealed_credentials, connection_id=uuid4(), owner_id=1)


def test_no_representation_of_a_connection_holds_a_secret(alices: ExecutionConnection) -> None:
    alices.set_credentials({"password": CANARY})
    shown = [
        repr(alices),
        str(alices),
        serializers.serialize("json", [alices]),
        str(ExecutionConnection.objects.values().get(pk=alices.pk)),
    ]
    assert not [text for text in shown if CANARY in text]
