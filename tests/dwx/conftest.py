"""Fixtures: a terminal of each platform, and an account at it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dwx.factories import Account, run
from tests.fakes.dwx.terminal import Terminal


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A running MetaTrader 4."""
    terminal = Terminal(tmp_path / "root", tmp_path / "broker")
    terminal.start()
    yield terminal
    terminal.kill()


@pytest.fixture
def mt5_terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A running MetaTrader 5."""
    terminal = Terminal(tmp_path / "root", tmp_path / "broker", is_mt5=True)
    terminal.start()
    yield terminal
    terminal.kill()


@pytest.fixture
def account(terminal: Terminal, tmp_path: Path) -> Iterator[Account]:
    account = Account(terminal, tmp_path / "root")
    yield account
    run(account.adapter.disconnect())


@pytest.fixture
def mt5_account(mt5_terminal: Terminal, tmp_path: Path) -> Iterator[Account]:
    account = Account(mt5_terminal, tmp_path / "root", hedging=True)
    yield account
    run(account.adapter.disconnect())
