"""A terminal for each test; it is gone afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.dwx.terminal import Terminal
from tests.dwx.cast import Owner, run


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    one = Terminal(tmp_path / "root", tmp_path / "broker")
    one.start()
    yield one
    one.kill()


@pytest.fixture
def owner(terminal: Terminal, tmp_path: Path) -> Iterator[Owner]:
    one = Owner(terminal, tmp_path / "root")
    yield one
    run(one.adapter.disconnect())
