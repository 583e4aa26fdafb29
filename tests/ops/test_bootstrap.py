"""The secrets that a development installation generates; production generates none."""

import base64
from pathlib import Path

import pytest
from nacl.public import PrivateKey, SealedBox

from config.env import Settings
from events import push_keys
from ops.bootstrap import development_secrets
from ops.embedded.errors import EmbeddedError

PUSH = ("FILLCAST_PUSH_PUBLIC_KEY", "FILLCAST_PUSH_PRIVATE_KEYS")
PUBLIC, PRIVATE = "FILLCAST_CREDENTIALS_PUBLIC_KEY", "FILLCAST_CREDENTIALS_PRIVATE_KEYS"


def test_secrets_are_created_once_and_valid(tmp_path: Path) -> None:
    given = {"FILLCAST_VAR": str(tmp_path)}
    first = development_secrets(given)
    Settings.read({**given, **first})
    assert development_secrets(given) == first
    assert (tmp_path / "secrets.json").stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == ["secrets.json"]


def test_credential_keys_are_a_pair(tmp_path: Path) -> None:
    generated = development_secrets({"FILLCAST_VAR": str(tmp_path)})
    private = PrivateKey(base64.b64decode(generated[PRIVATE]))
    assert bytes(private.public_key) == base64.b64decode(generated[PUBLIC])
    assert SealedBox(private).decrypt(SealedBox(private.public_key).encrypt(b"x")) == b"x"


def test_given_secrets_are_kept(tmp_path: Path) -> None:
    given = {"FILLCAST_VAR": str(tmp_path), "FILLCAST_INSTALLATION_TAG": "own", PUBLIC: "theirs"}
    assert set(development_secrets(given)) == {"FILLCAST_SECRET_KEY", *PUSH}
    assert set(development_secrets({**given, PUSH[1]: "theirs"})) == {"FILLCAST_SECRET_KEY"}


def test_push_keys_are_a_pair_that_stays(tmp_path: Path) -> None:
    generated = development_secrets({"FILLCAST_VAR": str(tmp_path)})
    public, private = (push_keys.decoded(generated[name]) for name in PUSH)
    assert push_keys.public_key_of(private) == public
    again = {"FILLCAST_VAR": str(tmp_path), "FILLCAST_DB_ROLE": "web", PUSH[0]: generated[PUSH[0]]}
    assert development_secrets(again)[PUSH[0]] == generated[PUSH[0]]
    assert PUSH[1] not in development_secrets(again)


def test_web_process_gets_no_private_key(tmp_path: Path) -> None:
    generated = development_secrets({"FILLCAST_VAR": str(tmp_path), "FILLCAST_DB_ROLE": "web"})
    assert PUBLIC in generated
    assert PRIVATE not in generated


def test_production_generates_no_secrets(tmp_path: Path) -> None:
    assert development_secrets({"FILLCAST_VAR": str(tmp_path), "FILLCAST_ENV": "production"}) == {}
    assert list(tmp_path.iterdir()) == []


def test_unusable_folder_is_one_error_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match="file/var cannot be used: Not a directory"):
        development_secrets({"FILLCAST_VAR": str(tmp_path / "file" / "var")})
