"""Mutation check: change one expression at a time and list the changes that no test notices.

    python -m tests.mutation              every module of MODULES
    python -m tests.mutation FILE ...     only these; other modules with the tests of their package
    python -m tests.mutation --survivors  only mutants that the last run did not kill or reach
    python -m tests.mutation --slice 3    every tenth mutant: those whose number ends with 3

mutmut makes and runs the mutants in var/mutation, a folder for each module. mypy rejects some, the
module's tests most others. A mutant that survives is an error, unless survivors.md explains it.
Exit status: 0, or 1 if a survivor is unexplained or a module could not be checked.
"""

import argparse
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops.embedded.servers import Servers
from tests.mutation.modules import MODULES, module_of
from tests.prepared_database import copy_to
from tests.servers import NEEDED, PREPARED, UNREACHABLE

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "var" / "mutation"
PAGE = Path(__file__).with_name("survivors.md")
TYPE_CHECK = (
    "--output", "json", "--no-warn-unreachable", "--disable-error-code", "unused-ignore"
)  # fmt: skip
SURVIVED, UNTESTED = {0}, {5, 33}
TIMED_OUT, REJECTED_BY_MYPY = {-24, 24, 36, 152, 255}, {37}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mutant: its function, and the changed line; `− ` begins one that was removed."""

    function: str
    line: str


@dataclass(slots=True)
class Result:
    """The outcome of a module's run."""

    module: str
    seconds: float = 0
    status: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    survivors: dict[Mutant, str] = field(default_factory=dict)  # with the difference
    error: str = ""


class Lane:
    """Checks one module after another, with a PostgreSQL and a Redis of its own."""

    def __init__(self, number: int) -> None:
        """Set the lane's number, which names its cache; nothing is started yet."""
        self._cache = FOLDER / f"mypy-{number}"
        self._folder = Path(tempfile.mkdtemp(prefix="fillcast-mutation-"))
        self._folder.chmod(0o755)  # PostgreSQL runs as another user when we are root
        self._servers: Servers | None = None
        self._mutmut: subprocess.Popen[bytes] | None = None
        self._is_stopped = False

    def stop(self) -> None:
        """End the module's run; the next run with --survivors goes on from here."""
        self._is_stopped = True
        if self._mutmut is not None and self._mutmut.poll() is None:
            self._mutmut.send_signal(signal.SIGINT)

    def close(self) -> None:
        """Stop the servers and delete their data."""
        if self._servers is not None:
            self._servers.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def check(self, module: str, *, only_survivors: bool, digit: str) -> Result:
        """Run the mutants of a module. digit: only those whose number ends with it; empty: all."""
        began, result = time.monotonic(), Result(module)
        folder = FOLDER / module.removesuffix(".py").replace("/", ".")
        if not only_survivors:
            shutil.rmtree(folder, ignore_errors=True)
        again = [
            name
            for name, code in _outcomes(folder, module, digit).items()
            if code in {None, *SURVIVED}
        ]
        _prepare(folder, module, self._cache)
        if (again or not only_survivors) and not self._is_stopped:
            chosen = again or ([f"*__mutmut_*{digit}"] if digit else [])
            command = [*_mutmut(), "run", "--max-children", "1", *chosen]
            with (folder / "log").open("wb") as log:
                self._mutmut = subprocess.Popen(
                    command, cwd=folder, env=self._environ(module), stdout=log, stderr=log
                )
            result.status = self._mutmut.wait()
        outcomes = _outcomes(folder, module, digit)
        if not outcomes and digit and _outcomes(folder, module):
            return result  # so few mutants that none is in the slice
        if result.status != 0 or not outcomes or None in outcomes.values():
            result.error = f"mutmut ended with status {result.status}; see {folder / 'log'}"
        result.counts = Counter(map(_verdict, outcomes.values()))
        for name, code in outcomes.items():
            if code in SURVIVED | UNTESTED:
                difference = _difference(folder, name)
                result.survivors[mutant_of(module, name, difference)] = difference
        result.seconds = time.monotonic() - began
        return result

    def _environ(self, module: str) -> dict[str, str]:
        """Return the environment of mutmut and of the tests that it runs."""
        environ = {name: value for name, value in os.environ.items() if "FILLCAST" not in name}
        if not module_of(module).needs_database:
            return environ | {f"TEST_{name}": UNREACHABLE[name] for name in NEEDED}
        if self._servers is None:
            copy_to(self._folder / "postgres")
            self._servers = Servers(self._folder, {}, fast=True).start()
        urls = {f"TEST_{name}": url for name, url in self._servers.urls.items()}
        return environ | urls | {PREPARED: "1"}


def _mutmut() -> list[str]:
    return [str(Path(sys.executable).with_name("mutmut"))]


ALL = "(not faults or quick) and not browser"  # what is exhaustive may be what kills a mutant


def _prepare(folder: Path, module: str, cache: Path) -> None:
    """Create the folder that mutmut runs in: links to the sources, and its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = {name.partition("/")[0] for name in listed.stdout.split("\0") if name}
    names = {name for name in names if not name.startswith(".") and name != "pyproject.toml"}
    for name in names:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(ROOT / name)
    mypy = [sys.executable, "-m", "mypy", "--cache-dir", str(cache), *TYPE_CHECK, module]
    settings = {
        "source_paths": [module],
        "also_copy": sorted(names),
        "pytest_add_cli_args": ["-p", "tests.mutation.plugin", "-p", "no:cacheprovider", "-m", ALL],
        "pytest_add_cli_args_test_selection": list(module_of(module).tests),
        "process_isolation": "forkserver",  # the process that forks has no sessions of a database
        "type_check_command": mypy,
        "do_not_mutate_patterns": [r"^\s*failpoint\("],  # names that tests/faults uses
        "timeout_constant": 8.0,  # seconds, of which mutmut gives fifteen times: other work goes on
        "track_dependencies": False,
        "use_git_change_detection": False,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    project = (ROOT / "pyproject.toml").read_text()
    # mypy's checks of style would reject `x or True`, which a test must notice.
    project = re.sub(r"^enable_error_code = .*$", "", project, flags=re.MULTILINE)
    text = "\n".join([project, "[tool.mutmut]", *lines, ""])
    (folder / "pyproject.toml").write_text(text)


def _outcomes(folder: Path, module: str, digit: str = "") -> dict[str, int | None]:
    """Return the exit code of each mutant's tests by its name; None: they were not run."""
    meta = folder / "mutants" / f"{module}.meta"
    if not meta.exists():
        return {}
    stored: dict[str, Any] = json.loads(meta.read_text())
    outcomes: dict[str, int | None] = stored["exit_code_by_key"]
    return {name: code for name, code in outcomes.items() if name.endswith(digit)}


def _verdict(code: int | None) -> str:
    if code is None:
        return "not run"
    if code in SURVIVED:
        return "survived"
    if code in UNTESTED:
        return "untested"
    if code in TIMED_OUT:
        return "timed out"
    return "mypy" if code in REJECTED_BY_MYPY else "killed"


def _difference(folder: Path, name: str) -> str:
    """Return the changed lines of a mutant."""
    shown = subprocess.run(
        [*_mutmut(), "show", name], cwd=folder, capture_output=True, text=True, check=True
    )
    lines = [line for line in shown.stdout.splitlines() if re.match(r"[-+](?![-+])", line)]
    return "\n".join(lines)


def mutant_of(module: str, name: str, difference: str) -> Mutant:
    """Return what names a mutant in survivors.md."""
    function = re.sub(r"__mutmut_\d+$", "", name.rpartition(".")[2])
    function = function.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
    lines = difference.splitlines()
    new = [line[1:].strip() for line in lines if line.startswith("+")]
    old = [line[1:].strip() for line in lines if line.startswith("-")]
    return Mutant(f"{Path(module).stem}.{function}", " ".join(new) or f"− {' '.join(old)}")


def explained_survivors() -> dict[Mutant, str]:
    """Return the mutants that survivors.md explains, with the reason."""
    cell = r"`` ?(.+?) ?``|`(.+?)`"
    row = re.compile(rf"\| `([\w.]+)` \| (?:{cell}) \| (.+) \|$", re.MULTILINE)
    return {
        Mutant(function, (long or short).replace(r"\|", "|")): reason
        for function, long, short, reason in row.findall(PAGE.read_text())
    }


def _report(results: list[Result], *, is_slice: bool) -> bool:
    """Print the summary; return whether every survivor is explained."""
    explained = explained_survivors()
    verdicts = ("killed", "mypy", "timed out", "survived", "untested")
    print(f"\n{'module':40}" + "".join(f"{name:>11}" for name in verdicts) + "    seconds")
    for result in results:
        counts = "".join(f"{result.counts[name]:11}" for name in verdicts)
        print(f"{result.module:40}{counts}{result.seconds:11.0f}")
    is_good = True
    for result in results:
        if result.error:
            is_good = False
            print(f"\n{result.module}: {result.error}")
        unexplained = {m: text for m, text in result.survivors.items() if m not in explained}
        for mutant, difference in unexplained.items():
            is_good = False
            print(f"\nSurvived: {mutant.function}: {mutant.line}\n{difference}")
    survivors = {mutant for result in results for mutant in result.survivors}
    stems = {Path(result.module).stem for result in results if not result.error}
    for mutant in () if is_slice else explained:
        if mutant.function.partition(".")[0] in stems and mutant not in survivors:
            print(f"\nExplained, but did not survive: {mutant.function}: {mutant.line}")
    return is_good


def main() -> int:
    """Check the modules; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument("--survivors", action="store_true")
    parser.add_argument("--slice", choices=list("0123456789"), default="", metavar="DIGIT")
    given = parser.parse_args()
    if missing := [name for name in given.files if not (ROOT / name).is_file()]:
        parser.error(f"no such file: {', '.join(missing)}")
    modules = list(given.files or MODULES)
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for module in modules:
        waiting.put(module)
    results: list[Result] = []

    def work(lane: Lane) -> None:
        try:
            while True:
                module = waiting.get_nowait()
                print(f"{module} …", flush=True)
                results.append(
                    lane.check(module, only_survivors=given.survivors, digit=given.slice)
                )
        except queue.Empty:
            pass
        finally:
            lane.close()

    lanes = [Lane(number) for number in range(min(os.cpu_count() or 1, len(modules)))]
    threads = [threading.Thread(target=work, args=(lane,)) for lane in lanes]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        while not waiting.empty():
            waiting.get()
        for lane in lanes:
            lane.stop()
        for thread in threads:
            thread.join()
    is_good = _report(sorted(results, key=lambda result: result.module), is_slice=bool(given.slice))
    return 0 if is_good and len(results) == len(modules) else 1


if __name__ == "__main__":
    sys.exit(main())
