"""`python -m benchmarks`, which `manage.py bench` starts: measure, each thing beside its
baseline."""

import argparse
import os
import sys

import django

HELP = (
    "Measure Fillcast beside the plain way of doing the same, on an own PostgreSQL, Redis and"
    " processes. Words go to standard error; the last line of standard output is JSON, also"
    " kept in var/bench/latest.json. See docs/performance.md."
)


def main() -> None:
    """Run the benches that the arguments name, and print the JSON line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()

    from benchmarks.environment import USUAL_ROUNDS, BenchError
    from benchmarks.suite import NAMES, run
    from ops.embedded.errors import EmbeddedError

    parser = argparse.ArgumentParser(prog="manage.py bench", description=HELP)
    parser.add_argument("--only", choices=sorted(NAMES), help="run this one alone")
    parser.add_argument(
        "--rounds",
        type=int,
        default=USUAL_ROUNDS,
        help="measure each side so often, and take the median (default: %(default)s)",
    )
    parser.add_argument("-n", type=int, help="how many connections (or positions)")
    given = parser.parse_args()
    try:
        print(run([given.only] if given.only else NAMES, given.n, given.rounds))
    except (EmbeddedError, BenchError) as e:
        sys.exit(str(e))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
