"""Folders that the servers' user can enter even if the tests run as root."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder of the test's own; PostgreSQL's user cannot enter pytest's tmp_path."""
    path = Path(tempfile.mkdtemp(prefix="fillcast-embedded-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)
