"""Set up each process that runs tests with servers of its own."""

import fcntl
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import connections
from django.template import Template
from django.test.utils import _TestState

from common.process.gc_tuning import exclude_imports_from_gc
from tests import by_path, kept_rows, operational, shares
from tests.db_cleanup import copy_aside, empty_quickly
from tests.durations import DurationsPlugin
from tests.examples import load_profile
from tests.hang_guard import HangGuardPlugin
from tests.inline_commits import inline_commits  # noqa: F401
from tests.kept_sessions import end_sessions, keep_sessions
from tests.pauses import PausesPlugin
from tests.prepared_database import kept_folder
from tests.row_order import reverse_unordered_rows
from tests.servers import NEEDED, PREPARED, TestServers, set_up
from tests.stopped_clock import create_clock, running_clock, stopped_clock  # noqa: F401

_servers: TestServers
LEFT_OUT = "TESTS_LEFT_OUT"
LEFT_OUT_PATHS = pytest.StashKey[frozenset[Path]]()
LEFT_OUT_REASON = pytest.StashKey[str]()
SHARE = pytest.StashKey[frozenset[Path] | None]()


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Set everything up in this hook, which pytest calls before it reads another conftest.py.

    With `-n 2` the first process only distributes the tests, so it starts no servers.
    """
    global _servers
    config: Any = pluginmanager.getplugin("pytestconfig")
    others = getattr(config.known_args_namespace, "numprocesses", None)
    given = [f"TEST_{name}" for name in NEEDED if os.environ.get(f"TEST_{name}")]
    if others and given:
        raise pytest.UsageError(f"-n: all processes would use the server of {' and '.join(given)}")
    runs_tests = not others or "PYTEST_XDIST_WORKER" in os.environ
    _servers = set_up(needed=runs_tests)
    load_profile()
    reverse_unordered_rows()
    empty_quickly()
    keep_sessions()
    pluginmanager.register(kept_rows.KeptRowsPlugin())
    pluginmanager.register(HangGuardPlugin())
    if runs_tests and (seed := os.environ.get("TEST_PAUSES")):
        pluginmanager.register(PausesPlugin(seed))
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pluginmanager.register(DurationsPlugin())
        if others:
            pluginmanager.register(shares.ProgressPlugin())


def pytest_configure(config: pytest.Config) -> None:
    """Decide which tests of adapters this run leaves out, unless tests were named.

    The processes of `-n 2` get the decision of the first one.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        names, reason = os.environ.get(LEFT_OUT, "").split(), ""
    elif config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        files, reason = by_path.left_out()
        names = sorted(files)
        os.environ[LEFT_OUT] = " ".join(names)
    else:
        names, reason = [], ""
        os.environ.pop(LEFT_OUT, None)
    config.stash[LEFT_OUT_PATHS] = frozenset(by_path.ROOT / name for name in names)
    config.stash[LEFT_OUT_REASON] = reason
    config.stash[SHARE] = _share(config)


def _share(config: pytest.Config) -> frozenset[Path] | None:
    """Return the files that this process of several runs, or None if it is the only one."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return None
    process = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    processes = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    files = shares.named_files(config.args, config.invocation_params.dir)
    left_out: frozenset[Path] = config.stash[LEFT_OUT_PATHS]
    return shares.share_of(process, processes, files - left_out)


def pytest_report_header(config: pytest.Config) -> str:
    return config.stash[LEFT_OUT_REASON]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the files that were decided to be, and those that another process runs."""
    if collection_path in config.stash[LEFT_OUT_PATHS]:
        return True
    share = config.stash[SHARE]
    if share is None or collection_path.is_dir() or not collection_path.name.startswith("test_"):
        return None
    return None if collection_path in share else True


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Iterator[None]:
    """Let one process compile what all import; the others of `-n 4` then read what it compiled."""
    with (kept_folder() / "collecting").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(lock, fcntl.LOCK_SH)
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what another process runs, and use another order if tests/explore.py asks for it.

    pytest collects a file that is named on its command line without asking whether to ignore it.
    """
    if (share := config.stash[SHARE]) is not None:
        items[:] = [item for item in items if item.path in share]
    if seed := os.environ.get("TEST_ORDER_SEED"):
        random.Random(seed).shuffle(items)


def pytest_collection_finish() -> None:
    """Exclude imported modules from garbage collection, since they stay until the process ends."""
    exclude_imports_from_gc(threshold=20_000)


def pytest_unconfigure() -> None:
    """Stop the servers when the run is over."""
    _servers.stop()


@pytest.fixture(scope="session", autouse=True)
def django_test_environment(django_test_environment: None) -> None:
    """Set up Django's environment, but do not copy each template's context; no test reads one."""
    Template._render = _TestState.saved_data.template_render  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def unknown_high_water_mark() -> Iterator[None]:
    """What another test's database had proves no loss in this one's: claims compare it."""
    from execution.disaster_recovery import restore_detector

    with pytest.MonkeyPatch.context() as patch:  # a test may undo its own patches in the middle
        patch.setattr(restore_detector, "_detector", restore_detector.RestoreDetector())
        yield


@pytest.fixture(autouse=True)
def operational_settings() -> Iterator[None]:
    """Begin each test with the same operational settings."""
    yield
    operational.reset()


@pytest.fixture(scope="session", autouse=True)
def quick_password_hashes() -> Iterator[None]:
    """The production hash at a thousandth of its cost: few tests look at what it costs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PBKDF2PasswordHasher, "iterations", 1_000)
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_confirmation() -> Iterator[None]:
    """Read an account twice that a test made richer or poorer, but not a second apart."""
    from connections.accounts import outlying_readings

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outlying_readings, "CONFIRM_SECONDS", 0.0)
        yield


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """Use the prepared database as it is; it is deleted with its server."""
    return not os.environ.get("TEST_DATABASE_URL") or PREPARED in os.environ


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix() -> None:
    """Add no suffix to the database's name, since each process has its own server."""


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Keep the rows of migrations, to restore them after each test that commits."""
    with django_db_blocker.unblock():
        copy_aside()
        create_clock()
    yield from kept_rows.available(django_db_blocker)
    end_sessions()


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that sets time-outs, in ms, for connections opened from then on."""
    options = connections.settings["default"]["OPTIONS"]

    def limit(**timeouts: int) -> None:
        parameters = " ".join(f"-c {name}={value}" for name, value in timeouts.items())
        monkeypatch.setitem(options, "options", f"{options['options']} {parameters}")

    return limit
