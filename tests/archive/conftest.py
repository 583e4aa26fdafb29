"""An archive in a folder of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from common import failpoints


@pytest.fixture
def folder(tmp_path: Path, settings: Settings) -> Path:
    """The archive's folder; it does not exist yet."""
    settings.FILLCAST_VAR = tmp_path
    return tmp_path / "archive"


@pytest.fixture
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm([])
