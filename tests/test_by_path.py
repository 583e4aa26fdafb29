"""Tests of adapters are left out only where nothing that they can reach has changed."""

import re
import subprocess
from pathlib import Path

import pytest

from tests import by_path

TEST = re.compile(r"\btest_\w+\.py$")
UNKNOWN = "tests of adapters: all run, since no commit to compare with is known"
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
        (PURE, "tests/conformance/stages/mt4.py", True),
        (PURE, "tests/crypto/client_process.py", True),
        (PURE, "tests/conformance/reviewed.json", True),
        (PURE, "examples/tiny-broker/tiny_broker/adapter.py", True),
        (PURE, "docs/conformance.md", True),
        (PURE, "tests/crypto/test_parse.py", False),
        (PURE, "tests/durations.json", False),
        (PURE, "tests/console/conftest.py", False),
        (OF_THE_ENGINE, "execution/submission/claim.py", True),
        (OF_THE_ENGINE, "signals/feeds/services.py", True),
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


def test_helpers_of_adapters_are_never_what_nothing_uses() -> None:
    """Stages, programs and data are named without an import: each lets all tests run."""
    found = [path for folder in by_path.FOLDERS for path in (by_path.ROOT / folder).rglob("*")]
    names = [str(path.relative_to(by_path.ROOT)) for path in found if path.is_file()]
    helpers = [n for n in names if "__pycache__" not in n and not TEST.search(n)]
    assert len(helpers) > 30
    assert [name for name in helpers if not by_path.deciding(PURE, [name])] == []


def git(folder: Path, *arguments: str) -> str:
    named = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    done = subprocess.run(
        ["git", *named, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def clone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A clone with one file of an adapter and one of the portal, which by_path looks at."""
    upstream, clone = tmp_path / "upstream", tmp_path / "clone"
    for name in ("brokers/a.py", "portal/b.py"):
        (upstream / name).parent.mkdir(parents=True)
        (upstream / name).write_text(f"{name} = 'a file of some length, so that git knows it'\n")
    git(upstream, "init", "-q", "-b", "main")
    git(upstream, "add", "-A")
    git(upstream, "commit", "-q", "-m", "first")
    git(tmp_path, "clone", "-q", str(upstream), str(clone))
    monkeypatch.setattr(by_path, "ROOT", clone)
    monkeypatch.delenv("TEST_BASE", raising=False)
    return clone


def changed() -> list[str] | None:
    base = by_path._merge_base()
    return None if base is None else by_path._changed_since(base)


def test_changes_of_a_clone_are_seen_committed_or_not(clone: Path) -> None:
    assert changed() == []
    (clone / "brokers/a.py").write_text("other")
    (clone / "brokers/ä.py").write_text("new")
    assert changed() == ["brokers/a.py", "brokers/ä.py"]
    git(clone, "add", "-A")
    git(clone, "commit", "-q", "-m", "second")
    assert changed() == ["brokers/a.py", "brokers/ä.py"]


def test_file_that_was_moved_or_removed_is_seen_where_it_was(clone: Path) -> None:
    git(clone, "mv", "brokers/a.py", "portal/a.py")
    git(clone, "rm", "-q", "portal/b.py")
    git(clone, "commit", "-q", "-m", "moved")
    assert changed() == ["brokers/a.py", "portal/a.py", "portal/b.py"]


def test_all_run_if_no_commit_is_known(clone: Path) -> None:
    git(clone, "remote", "remove", "origin")
    assert changed() is None
    (clone / ".git").rename(clone / "git")
    assert changed() is None
    assert by_path.left_out() == (frozenset(), UNKNOWN)


def test_base_that_is_none_lets_all_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_BASE", "none")
    assert by_path.left_out()[0] == frozenset()
