"""`python -m benchmarks`, which `manage.py bench` starts: run benchmarks and print the results."""

import argparse
import os
import sys

import django

HELP = """Measure Fillcast beside a plain implementation of the same, on separate servers and
processes. Progress goes to standard error. The last line of standard output is JSON, which is also
stored in var/bench/latest.json. See docs/performance.md."""


def main() -> None:
    """Run the benchmarks that the arguments name, and print the JSON line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()

    from benchmarks import expected
    from benchmarks.environment import USUAL_ROUNDS, BenchError, report_progress
    from benchmarks.results import as_json, as_table
    from benchmarks.suite import LONG, NAMES, SMALL, SMALL_ROUNDS, described, run
    from ops.embedded.errors import EmbeddedError

    listed = f"The benchmarks, their usual n, and about how long each takes:\n{described()}"
    parser = _parser(listed, USUAL_ROUNDS, SMALL_ROUNDS)
    given = parser.parse_args()
    if given.only == "help":
        print(listed)
        return
    if unknown := {given.only, given.start} - {None, *NAMES, *(LONG if given.only else ())}:
        parser.exit(2, f"There is no benchmark {unknown.pop()!r} here. {listed}\n")
    names = [given.only] if given.only else [*SMALL] if given.small else NAMES
    if given.start:
        names = NAMES[NAMES.index(given.start) :]
    path = expected.SMALL_PATH if given.small else expected.PATH
    figures = expected.read(path)
    if given.check and not given.only:
        names = [name for name in names if name in figures]
        if not names:
            sys.exit("Nothing is expected yet: run `manage.py bench --record` first.")
    try:
        rounds = given.rounds or (SMALL_ROUNDS if given.small else USUAL_ROUNDS)
        counts = SMALL if given.small else given.n
        facts, results = run(names, counts, rounds, keeps_others=bool(given.start))
        if given.record:
            expected.record(facts, results, path)
        comparisons = expected.compare(facts, results, figures) if given.check else []
        for comparison in comparisons:
            report_progress(comparison.text)
        if len(results) > 1:
            report_progress(as_table(results))
        print(as_json(facts, results))
        if any(comparison.is_worse for comparison in comparisons):
            sys.exit(1)
    except (EmbeddedError, BenchError) as e:
        sys.exit(str(e))
    except KeyboardInterrupt:
        sys.exit(130)


def _parser(listed: str, rounds: int, small_rounds: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="manage.py bench", description=HELP, epilog=listed,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--small",
        action="store_true",
        help="run what is steady enough for each run of the tests, with small numbers;"
        " --check and --record use benchmarks/expected_small.json",
    )
    which.add_argument("--only", metavar="BENCHMARK", help="run only this one; help: list them")
    which.add_argument(
        "--from",
        dest="start",
        metavar="BENCHMARK",
        help="go on with a run that has stopped, from this benchmark on; what is stored of the"
        " others stays",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        help=f"how often each side is measured; the median counts (default: {rounds}, with --small"
        f" {small_rounds})",
    )
    parser.add_argument("-n", type=int, help="number of connections, orders or positions")
    then = parser.add_mutually_exclusive_group()
    then.add_argument(
        "--check",
        action="store_true",
        help="then compare with benchmarks/expected.json; exit status 1 if a ratio is worse by more"
        " than a fifth",
    )
    then.add_argument(
        "--record",
        action="store_true",
        help="then write the ratios to benchmarks/expected.json; of several runs the worst is kept",
    )
    return parser


if __name__ == "__main__":
    main()
