"""Folders that the servers' user can enter even if the tests run as root."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server_folders import server_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder of the test's own; PostgreSQL's user cannot enter pytest's tmp_path."""
    with server_folder("fillcast-embedded-") as path:
        yield path
