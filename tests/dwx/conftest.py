"""A terminal for each test; it is gone afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dwx.factories import Owner, run
from tests.fakes.dwx.terminal import Terminal


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    one = Terminal(tmp_path / "root", tmp_path / "broker")
    one.start()
    yield one
    one.kill()


@pytest.fixture
def terminal5(tmp_path: Path) -> Iterator[Terminal]:
    """A MetaTrader 5."""
    one = Terminal(tmp_path / "root", tmp_path / "broker", is_mt5=True)
    one.start()
    yield one
    one.kill()


@pytest.fixture
def owner5(terminal5: Terminal, tmp_path: Path) -> Iterator[Owner]:
    one = Owner(terminal5, tmp_path / "root", hedging=True)
    yield one
    run(one.adapter.disconnect())


@pytest.fixture
def owner(terminal: Terminal, tmp_path: Path) -> Iterator[Owner]:
    one = Owner(terminal, tmp_path / "root")
    yield one
    run(one.adapter.disconnect())
