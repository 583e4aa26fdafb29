"""Every process that runs tests has servers of its own; nothing runs beside what is `alone`."""

import os
from collections.abc import Callable, Generator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.db import connections

from tests.emptying import empty_quickly
from tests.servers import NEEDED, TestServers, set_up
from tests.sharing import FilesInOrder, Turns

_servers: TestServers
_turns: Turns | None = None


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Set everything up: of all hooks this one is called before another conftest.py is read.

    With `-n 2` the process that was called only hands tests out to two others: no server for it.
    """
    global _servers
    told: Any = pluginmanager.getplugin("pytestconfig")
    others = getattr(told.known_args_namespace, "numprocesses", None)
    given = [f"TEST_{name}" for name in NEEDED if os.environ.get(f"TEST_{name}")]
    if others and given:
        raise pytest.UsageError(f"-n: all of them would use the server of {' and '.join(given)}")
    _servers = set_up(wanted=not others or "PYTEST_XDIST_WORKER" in os.environ)
    hypothesis.settings.register_profile("fillcast", deadline=None)  # none fails for being slow
    hypothesis.settings.load_profile("fillcast")
    empty_quickly()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesInOrder:
    """Say who hands tests out."""
    return FilesInOrder(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process that tests are handed out to where all of them meet."""
    node.workerinput["turns"] = str(_servers.folder)


def pytest_configure(config: pytest.Config) -> None:
    """Meet the others, if we are one of several."""
    global _turns
    if told := getattr(config, "workerinput", None):
        _turns = Turns(Path(told["turns"]))


@pytest.hookimpl(wrapper=True, tryfirst=True)  # the wait for its turn is no part of a test's time
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let a test that is `alone` run when no other does."""
    alone = item.get_closest_marker("alone") is not None
    with _turns.taken(alone=alone) if _turns else nullcontext():
        return (yield)


def pytest_unconfigure() -> None:
    """Stop the servers when the run is over."""
    _servers.stop()


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets time-outs, in ms, for connections that are opened from now on."""
    options = connections.settings["default"]["OPTIONS"]

    def limit(**timeouts: int) -> None:
        said = " ".join(f"-c {name}={value}" for name, value in timeouts.items())
        monkeypatch.setitem(options, "options", f"{options['options']} {said}")

    return limit
