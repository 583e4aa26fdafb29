"""Planted mistakes: one wrong guard or sum at a time, each of which a named test must notice.

    python -m tests.mutation.planted                all mistakes of the folder `mistakes`
    python -m tests.mutation.planted WORD ...       those whose file or old text has a word
    python -m tests.mutation.planted --tests PATH   by these tests, instead of each one's own

mutmut changes expressions of Python and leaves SQL alone. These mistakes are in both: a fence that
is not compared, a status that a set lacks, a whole quantity in place of what is left of it. Each is
written into a copy of the sources, and its tests run until one fails. One that no test notices is
an error, as is one whose old text is not in its file exactly once, and one whose tests fail or take
too long without it.
Exit status: 0, or 1.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ops.embedded.servers import Servers
from tests.prepared_database import copy_to
from tests.server_folders import server_folder
from tests.servers import PREPARED

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).with_name("mistakes")
NOTICED, PASSED = 1, 0  # exit statuses of pytest
SECONDS = 300  # a mistake that makes a test wait for ever is noticed by the end of its time


class Mistake(NamedTuple):
    """A mistake: its file, the text that is right, and the wrong one. tests: which notice it."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    kept_in: str = ""

    def planted_in(self, text: str) -> str:
        """Return a file's text with the mistake. Raises ValueError unless `old` stands once."""
        if (count := text.count(self.old)) != 1:
            kept = f"; mend it in {self.kept_in}" if self.kept_in else ""
            raise ValueError(f"{self.file} has {count} times: {self.old}{kept}")
        return text.replace(self.old, self.new)

    def __str__(self) -> str:
        return f"{self.file}: {self.old!r} > {self.new!r}"


def mistakes() -> list[Mistake]:
    """Return the mistakes of the folder `mistakes`."""
    return [one for path in sorted(FOLDER.glob("*.toml")) for one in _mistakes_in(path)]


def _mistakes_in(path: Path) -> Iterator[Mistake]:
    stored = tomllib.loads(path.read_text())
    tests = {name: tuple(paths) for name, paths in stored["tests"].items()}
    for one in stored["mistake"]:
        yield Mistake(one["file"], one["old"], one["new"], tests[one["tests"]], path.name)


class Copy:
    """A copy of the sources that can have one mistake, with servers for its tests."""

    def __init__(self, folder: Path) -> None:
        self._sources = folder / "sources"
        self._log = folder / "log"
        self._passed = set[tuple[str, ...]]()
        for name in _committed_files():
            target = self._sources / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
        copy_to(folder / "postgres")
        self._servers = Servers(folder, {}, fast=True).start()

    def stop(self) -> None:
        self._servers.stop()

    def require_passed(self, tests: tuple[str, ...]) -> None:
        """Run tests on the right sources. Raises RuntimeError if they fail: they notice all."""
        if tests in self._passed:
            return
        status, output = self._run(tests)
        if status != PASSED:
            raise RuntimeError(f"without a mistake, pytest ended with {status}:\n{output[-3000:]}")
        self._passed.add(tests)

    def notices(self, mistake: Mistake, tests: Sequence[str]) -> str:
        """Return which test notices a mistake; empty: none does. Raises RuntimeError."""
        path = self._sources / mistake.file
        text = path.read_text()
        path.write_text(mistake.planted_in(text))
        try:
            status, output = self._run(tests)
        finally:
            path.write_text(text)
        if status == PASSED:
            return ""
        failed = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
        if status == NOTICED and failed:
            return failed[0].split()[1]
        raise RuntimeError(f"pytest ended with {status}:\n{output[-3000:]}")

    def _run(self, tests: Sequence[str]) -> tuple[int, str]:
        urls = {f"TEST_{name}": url for name, url in self._servers.urls.items()}
        environ = {name: value for name, value in os.environ.items() if "FILLCAST" not in name}
        command = [
            sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "--tb=no", "-p",
            "tests.mutation.plugin", "-p", "no:cacheprovider", *tests,
        ]  # fmt: skip
        with self._log.open("w+") as log:
            run = subprocess.Popen(
                command, cwd=self._sources, env=environ | urls | {PREPARED: "1"}, stdout=log,
                stderr=log,
            )  # fmt: skip
            try:
                status = run.wait(SECONDS)
            except subprocess.TimeoutExpired:
                run.kill()
                run.wait()
                return NOTICED, "FAILED by-a-test-that-does-not-end"
            log.seek(0)
            return status, log.read()


def _committed_files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@contextmanager
def copied() -> Iterator[Copy]:
    """Copy the sources for as long as the block lasts."""
    with server_folder("fillcast-planted-") as folder:
        copy = Copy(folder)
        try:
            yield copy
        finally:
            copy.stop()


def check(planted: Sequence[Mistake], tests: Sequence[str] = ()) -> list[Mistake]:
    """Plant each mistake, print what notices it, and return those that nothing does."""
    unnoticed = []
    with copied() as copy:
        for number, mistake in enumerate(planted, 1):
            began = time.monotonic()
            copy.require_passed(tuple(tests) or mistake.tests)
            by = copy.notices(mistake, tests or mistake.tests)
            took = f"{time.monotonic() - began:.0f} s"
            print(f"{number}/{len(planted)} {by or 'NOT NOTICED'} ({took}): {mistake}", flush=True)
            if not by:
                unnoticed.append(mistake)
    return unnoticed


def main() -> int:
    """Check the mistakes that the arguments name; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation.planted")
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--tests", nargs="+", default=[], metavar="PATH")
    given = parser.parse_args()
    chosen = [
        one for one in mistakes()
        if not given.words or any(word in f"{one.file} {one.old}" for word in given.words)
    ]  # fmt: skip
    unnoticed = check(chosen, given.tests)
    print(f"{len(chosen) - len(unnoticed)} of {len(chosen)} planted mistakes were noticed.")
    for mistake in unnoticed:
        print(f"No test notices: {mistake}")
    return 1 if unnoticed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
