"""Folders that the servers' user can enter, also when we are root."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the test's own; pytest's tmp_path is closed to PostgreSQL's user."""
    made = Path(tempfile.mkdtemp(prefix="fillcast-embedded-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)
