"""`python -m benchmarks`, which `manage.py bench` starts: run benchmarks and print the results."""

import argparse
import os
import sys

import django

HELP = """Measure Fillcast beside a plain implementation of the same, on separate servers and
processes. Progress goes to standard error. The last line of standard output is JSON, which is also
stored in var/bench/latest.json. See docs/performance.md."""


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()

    from benchmarks import expected
    from benchmarks.environment import USUAL_ROUNDS, BenchError, report_progress
    from benchmarks.results import as_json, as_table
    from benchmarks.suite import LONG, NAMES, SMALL, SMALL_ROUNDS, described, run
    from ops.embedded.errors import EmbeddedError

    listed = f"The benchmarks, their usual n, and about how long each takes:\n{described()}"
    parser = _parser(listed, f"{USUAL_ROUNDS}, with --small {SMALL_ROUNDS}")
    given = parser.parse_args()
    if given.only == "help":
        print(listed)
        return
    if given.only not in {None, *NAMES, *LONG}:
        parser.exit(2, f"There is no benchmark {given.only!r} here. {listed}\n")
    names = [given.only] if given.only else [*SMALL] if given.small else NAMES
    path = expected.SMALL_PATH if given.small else expected.PATH
    figures = expected.read(path)
    if given.check and not given.only:
        names = [name for name in names if name in figures]
        if not names:
            sys.exit("Nothing is expected yet: run `manage.py bench --record` first.")
    try:
        rounds = given.rounds or (SMALL_ROUNDS if given.small else USUAL_ROUNDS)
        facts, results = run(names, SMALL if given.small else given.n, rounds)
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


def _parser(listed: str, rounds: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="manage.py bench", description=HELP, epilog=listed,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    which, then = parser.add_mutually_exclusive_group(), parser.add_mutually_exclusive_group()
    small = "run what is steady enough for each run of the tests, with small numbers; --check and"
    which.add_argument("--small", action="store_true",
                       help=f"{small} --record use benchmarks/expected_small.json")  # fmt: skip
    which.add_argument("--only", metavar="BENCHMARK", help="run only this one; help: list them")
    often = "how often each side is measured; the median counts"
    parser.add_argument("--rounds", type=int, help=f"{often} (default: {rounds})")
    parser.add_argument("-n", type=int, help="number of connections, orders or positions")
    check = "then compare with benchmarks/expected.json; exit status 1 if a ratio is worse by more"
    then.add_argument("--check", action="store_true", help=f"{check} than a fifth")
    record = "then write the ratios to benchmarks/expected.json; of several runs the worst is kept"
    then.add_argument("--record", action="store_true", help=record)
    return parser


if __name__ == "__main__":
    main()
