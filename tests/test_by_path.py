"""Tests of adapters are left out only where nothing that they can reach has changed."""

from pathlib import Path

import pytest

from tests import by_path

PURE = "tests/dwx/test_parse.py"
OF_THE_ENGINE = "tests/crypto/engine/test_engine.py"


def test_contract_has_adapters_above_common_only() -> None:
    """What makes it sound to leave out the tests of adapters: `brokers` reaches nothing else."""
    assert by_path.reached(frozenset({"brokers"})) == {"brokers", "common"}


def test_contract_names_every_package() -> None:
    packages = {path.parent.name for path in by_path.ROOT.glob("*/__init__.py")} - {"tests"}
    assert set().union(*by_path.layers()) == packages


@pytest.mark.parametrize(
    ("test", "changed", "runs"),
    [
        (PURE, "brokers/dwx/parse.py", True),
        (PURE, "common/money.py", True),
        (PURE, "tests/dwx/factories.py", True),
        (PURE, "tests/fakes/dwx/terminal.py", True),
        (PURE, "config/settings.py", True),
        (PURE, "requirements-crypto.txt", True),
        (PURE, "tests/ports.py", True),
        (PURE, "execution/submission/claim.py", False),
        (PURE, "portal/views/overview.py", False),
        (PURE, "docs/crypto.md", False),
        (PURE, "tests/console/conftest.py", False),
        (OF_THE_ENGINE, "execution/submission/claim.py", True),
        (OF_THE_ENGINE, "signals/feeds.py", True),
        (OF_THE_ENGINE, "tests/execution/factories.py", True),
        (OF_THE_ENGINE, "portal/views/overview.py", False),
    ],
)
def test_file_runs_if_something_that_it_reaches_changed(
    test: str, changed: str, runs: bool
) -> None:
    assert bool(by_path.deciding(test, [changed])) is runs


def test_most_files_of_adapters_reach_no_engine() -> None:
    """A helper that imports the engine for all of a folder would make each of them run."""
    files = by_path.tests_of_adapters()
    left_out = [name for name in files if not by_path.deciding(name, ["execution/services.py"])]
    assert len(left_out) >= 0.6 * len(files), sorted({*files} - {*left_out})


def test_all_run_if_no_commit_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(by_path, "ROOT", tmp_path)  # no repository
    assert by_path.left_out()[0] == frozenset()


def test_base_that_is_none_lets_all_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_BASE", "none")
    assert by_path.left_out()[0] == frozenset()
