"""Which tests of adapters this run needs: those whose code differs from what has landed.

An adapter imports nothing but `brokers` and `common`, and so do most of its tests; a test of the
engine on an adapter imports the engine and what lies below it. "Imports only go down" (the contract
of pyproject.toml) makes sure that nothing else can change what such a test shows. So `make test`
leaves a test file of FOLDERS out if git shows that none of the packages which it can reach, and
nothing in `tests` that it imports, was changed, and none of what ALWAYS names.
"""

import ast
import os
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = tuple(
    f"tests/{name}/"
    for name in ("conformance", "crypto", "dwx", "ibkr", "mt5", "paper", "rate_limits")
)
CONTRACT = "Imports only go down"
ALWAYS = re.compile(
    r"config/|requirements|pyproject\.toml|examples/|deploy/windows/|docs/conformance\.md"
    r"|tests/(fakes/|(?!durations\.json)[^/]+$)"
    r"|tests/(conformance|crypto|dwx|ibkr|mt5|paper|rate_limits)/(?!.*\btest_\w+\.py$)"
)
"""What decides about each of them: settings, libraries, fakes, what all tests share, and what is
beside them: programs, stages and data, which they name without an import."""
ONE_ORDER = "tests/conformance/test_one_order.py"
"""One order per adapter, which always runs."""


def left_out() -> tuple[frozenset[str], str]:
    """Return the test files that this run may leave out, and a sentence that says why.

    All run if git does not know what has changed, or with TEST_BASE=none. It may name another
    commit to compare with than the one from which this branch left `origin/main`.
    """
    base = _merge_base()
    changed = None if base is None else _changed_since(base)
    if base is None or changed is None:
        return frozenset(), "tests of adapters: all run, since no commit to compare with is known"
    files = [name for name in tests_of_adapters() if not deciding(name, changed)]
    return frozenset(files), (
        f"tests of adapters: {len(files)} files left out, since nothing that they use differs from"
        f" {base[:10]}; `make test-all` runs them"
    )


def tests_of_adapters() -> list[str]:
    """Return the test files that may be left out."""
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("test_*.py")]
    return sorted({str(path.relative_to(ROOT)) for path in found} - {ONE_ORDER})


def deciding(test: str, changed: list[str]) -> list[str]:
    """Return which of the changed files can change what a test file shows."""
    if not changed:
        return []
    used = used_files(ROOT / test)
    packages = tuple(f"{package}/" for package in reached(used_packages(used)))
    return [
        name
        for name in changed
        if ALWAYS.match(name)
        or (not name.endswith(".md") and (name.startswith(packages) or ROOT / name in used))
    ]


@cache
def layers() -> list[frozenset[str]]:
    """Return our packages from the highest layer to the lowest, as the contract has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = (one for one in contracts["contracts"] if one["name"] == CONTRACT)
    return [frozenset(re.findall(r"\w+", layer)) for layer in contract["layers"]]


def reached(packages: frozenset[str]) -> set[str]:
    """Return the packages and all that they may import."""
    found = set(packages)
    for number, layer in enumerate(layers()):
        if layer & packages:
            found.update(*layers()[number + 1 :])
            break
    return found


def used_packages(files: frozenset[Path]) -> frozenset[str]:
    """Return our packages that these test files import."""
    tops = {name.partition(".")[0] for path in files for name in _imports(path)}
    return frozenset(tops & set().union(*layers()))


@cache
def used_files(test: Path) -> frozenset[Path]:
    """Return a test file with its conftest files and all helpers that they import."""
    folders = [path for path in test.parents if path.is_relative_to(ROOT / "tests")]
    waiting = [test, *(path / "conftest.py" for path in folders[:-1])]
    waiting = [path for path in waiting if path.is_file()]
    seen = set[Path]()
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            names = (name for name in _imports(module) if name.startswith("tests."))
            waiting += [path for name in names for path in _files_of(name)]
    return frozenset(seen)


@cache
def _imports(module: Path) -> frozenset[str]:
    """Return the dotted names that a module imports, anywhere in it, and those it names as text."""
    names = set[str]()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            top, dot, rest = node.value.partition(".")  # as in monkeypatch.setattr("brokers.x.y")
            if dot and top in {"tests"}.union(*layers()) and rest.replace(".", "").isidentifier():
                names.add(node.value)
    return frozenset(names)


def _files_of(name: str) -> list[Path]:
    """Return the files of `tests` that importing a dotted name runs."""
    found, path = list[Path](), ROOT
    for part in name.split("."):
        path = path / part
        if path.with_suffix(".py").is_file():
            found.append(path.with_suffix(".py"))
        elif (path / "__init__.py").is_file():
            found.append(path / "__init__.py")
    return found


def _merge_base() -> str | None:
    given = os.environ.get("TEST_BASE", "")
    if given == "none":
        return None
    for landed in [given] if given else ["origin/main", "origin/HEAD"]:
        if found := _git("merge-base", "HEAD", landed):
            return found[0]
    return None


def _changed_since(base: str) -> list[str] | None:
    tracked = _git("diff", "--name-only", "--no-renames", "--relative", base)
    new = _git("ls-files", "--others", "--exclude-standard")
    return None if tracked is None or new is None else sorted(tracked + new)


def _git(*arguments: str) -> list[str] | None:
    command = ["git", "-c", "core.quotePath=false", *arguments]
    try:
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return found.stdout.splitlines() if found.returncode == 0 else None
