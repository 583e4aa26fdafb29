"""What a development installation makes up, and what it must not."""

import base64
from pathlib import Path

import pytest
from nacl.public import PrivateKey, SealedBox

from config.env import Settings
from ops.bootstrap import development_secrets
from ops.embedded.errors import EmbeddedError

PUBLIC, PRIVATE = "FILLCAST_CREDENTIALS_PUBLIC_KEY", "FILLCAST_CREDENTIALS_PRIVATE_KEYS"


def test_made_once_and_well_formed(tmp_path: Path) -> None:
    given = {"FILLCAST_VAR": str(tmp_path)}
    first = development_secrets(given)
    Settings.read({**given, **first})
    assert development_secrets(given) == first
    assert (tmp_path / "secrets.json").stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == ["secrets.json"]


def test_the_keys_are_a_pair(tmp_path: Path) -> None:
    made = development_secrets({"FILLCAST_VAR": str(tmp_path)})
    private = PrivateKey(base64.b64decode(made[PRIVATE]))
    assert bytes(private.public_key) == base64.b64decode(made[PUBLIC])
    assert SealedBox(private).decrypt(SealedBox(private.public_key).encrypt(b"x")) == b"x"


def test_what_is_given_stays(tmp_path: Path) -> None:
    given = {"FILLCAST_VAR": str(tmp_path), "FILLCAST_INSTALLATION_TAG": "own", PUBLIC: "theirs"}
    assert set(development_secrets(given)) == {"FILLCAST_SECRET_KEY"}


def test_a_web_process_cannot_open_credentials(tmp_path: Path) -> None:
    made = development_secrets({"FILLCAST_VAR": str(tmp_path), "FILLCAST_DB_ROLE": "web"})
    assert PUBLIC in made
    assert PRIVATE not in made


def test_production_makes_nothing_up(tmp_path: Path) -> None:
    assert development_secrets({"FILLCAST_VAR": str(tmp_path), "FILLCAST_ENV": "production"}) == {}
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match="file/var cannot be used: Not a directory"):
        development_secrets({"FILLCAST_VAR": str(tmp_path / "file" / "var")})
