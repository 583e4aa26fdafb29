"""Judge what a test run reached: a row for each bar, and what is missing below one.

    deploy/coverage_bars.py PART FILE

PART is everything, brokers or decisions; FILE is slipcover's JSON of the run.
Exit status: 0, or 1 if a bar is missed. `deploy/coverage.sh` runs the tests and calls it.
"""

import json
import sys
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

DECISIONS = tuple(
    f"execution/submission/{name}.py"
    for name in ("sizing", "risk", "market_limits", "flow_limits", "signal_limits")
)
BROKERS = tuple(f"{path.parent}/*" for path in sorted(Path("brokers").glob("*/__init__.py")))
PARSERS = tuple(
    str(path) for name in ("parse", "codes") for path in Path("brokers").glob(f"*/{name}.py")
)
OF_BROKERS = {
    **dict.fromkeys((*BROKERS, "brokers/*", "conformance/*"), 80),
    **dict.fromkeys(sorted(PARSERS), 100),
}
OF_DECISIONS = dict.fromkeys(DECISIONS, 100)
BARS: dict[str, dict[str, int]] = {  # percent of lines and branches, by a pattern of files
    "decisions": OF_DECISIONS,
    "brokers": OF_BROKERS,
    "everything": {**OF_DECISIONS, **OF_BROKERS, "execution/*": 90, "*": 80},
}
ROW = "{:<40} {:>7} {:>7} {:>8} {:>7} {:>7}  {}"


def counts(files: Iterable[Any]) -> tuple[int, int, int, int]:
    """Return lines, missing lines, branches and missing branches of these files."""
    kinds = ("executed_lines", "missing_lines", "executed_branches", "missing_branches")
    ran, missing, took, untaken = (sum(len(file[kind]) for file in files) for kind in kinds)
    return ran + missing, missing, took + untaken, untaken


def gaps(files: dict[str, Any]) -> list[str]:
    """Return the lines and branches that no test reaches, one text a file."""
    return [
        f"  {name}: lines {file['missing_lines']}, branches {file['missing_branches']}"
        for name, file in sorted(files.items())
        if file["missing_lines"] or file["missing_branches"]
    ]


def judge(part: str, measured: dict[str, Any]) -> bool:
    """Print a row for each bar of a part; return whether all are reached."""
    reached = True
    print()
    print(ROW.format("", "lines", "missing", "branches", "missing", "cover", "bar"))
    for pattern, bar in BARS[part].items():
        files = {name: file for name, file in measured.items() if fnmatch(name, pattern)}
        lines, missing, branches, untaken = counts(list(files.values()))
        total = lines + branches
        cover = 100 * (total - missing - untaken) / total if total else 0.0
        verdict = f"{bar} % ok" if cover >= bar else f"{bar} % MISSED"
        # Rounded down: 99.96 is no 100.
        shown = f"{int(cover * 10) / 10:.1f}"
        print(ROW.format(pattern, lines, missing, branches, untaken, shown, verdict))
        if cover < bar:
            reached = False
            print("\n".join(gaps(files)))
    return reached


if __name__ == "__main__":
    measured = json.loads(Path(sys.argv[2]).read_text())["files"]
    sys.exit(not judge(sys.argv[1], measured))
