"""Secrets in files, as Docker, Kubernetes and systemd pass them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.env_variables import InvalidEnvironmentError
from config.secret_files import FOLDER, LARGEST, read_secret_files

ROOT = Path(__file__).parents[2]


def test_file_is_the_setting_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "FILLCAST_SECRET_KEY").write_text(" of letters\n")
    (tmp_path / "REDIS_URL").write_text("redis://x\r\n")
    (tmp_path / "..data").mkdir()  # Kubernetes
    environ = {FOLDER: str(tmp_path), "REDIS_URL": "", "FILLCAST_LOG_LEVEL": "INFO"}
    read_secret_files(environ)
    read_secret_files(environ)  # again in the same process
    assert environ == {
        "FILLCAST_SECRET_KEY": " of letters",
        "REDIS_URL": "redis://x",
        "FILLCAST_LOG_LEVEL": "INFO",
    }


def test_every_fault_of_a_folder_is_named_and_no_secret(tmp_path: Path) -> None:
    (tmp_path / "FILLCAST_SECRET_KEY").write_text("hidden")
    (tmp_path / "DATABASE_ULR").write_text("hidden")
    (tmp_path / "REDIS_URL").write_bytes(b"hidden\xff")
    (tmp_path / "DATABASE_URL").mkdir()
    (tmp_path / "FILLCAST_EMAIL_URL").write_text("h" * (LARGEST + 1))
    environ = {FOLDER: str(tmp_path), "FILLCAST_SECRET_KEY": "another"}
    with pytest.raises(InvalidEnvironmentError) as raised:
        read_secret_files(environ)
    faults = raised.value.faults
    assert len(faults) == 5
    for words in ("ULR is named as no", "REDIS_URL is no UTF-8", "DATABASE_URL cannot be read",
                  "more than", "FILLCAST_SECRET_KEY is set and"):  # fmt: skip
        assert sum(words in fault for fault in faults) == 1, words
    assert "hidden" not in str(raised.value)
    assert environ[FOLDER] == str(tmp_path)  # nothing is changed


def test_missing_folder_is_named() -> None:
    with pytest.raises(InvalidEnvironmentError, match="/no/such/folder"):
        read_secret_files({FOLDER: "/no/such/folder"})


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["manage.py", "check"], "DATABASE_URL is a text of"),
        (["-m", "config.web_server"], "DATABASE_URL is a text of"),
        (["-m", "ops.health", "lease"], 'missing "="'),  # of the driver: it read the file
    ],
)
def test_processes_read_files_and_state_what_is_wrong(
    tmp_path: Path, command: list[str], expected: str
) -> None:
    """Each entry point reads them: a malformed value in a file is that setting's error."""
    (tmp_path / "DATABASE_URL").write_text("mysql://db/x")
    environ = {
        **{k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "TEST_DATABASE_URL")},
        FOLDER: str(tmp_path), "FILLCAST_ENV_FILE": os.devnull, "FILLCAST_VAR": str(tmp_path),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environ, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert expected in output
    assert "Traceback" not in output
