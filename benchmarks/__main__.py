"""`python -m benchmarks`, which `manage.py bench` starts: run benchmarks and print the results."""

import argparse
import os
import sys

import django

HELP = (
    "Measure Fillcast beside a plain implementation of the same, on separate servers and"
    " processes. Progress goes to standard error. The last line of standard output is JSON, which"
    " is also stored in var/bench/latest.json. See docs/performance.md."
)


def main() -> None:
    """Run the benchmarks that the arguments name, and print the JSON line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()

    from benchmarks.environment import USUAL_ROUNDS, BenchError
    from benchmarks.suite import NAMES, run
    from ops.embedded.errors import EmbeddedError

    parser = argparse.ArgumentParser(prog="manage.py bench", description=HELP)
    parser.add_argument("--only", choices=sorted(NAMES), help="run only this benchmark")
    parser.add_argument(
        "--rounds",
        type=int,
        default=USUAL_ROUNDS,
        help="how often each side is measured; the median counts (default: %(default)s)",
    )
    parser.add_argument("-n", type=int, help="number of connections, orders or positions")
    given = parser.parse_args()
    try:
        print(run([given.only] if given.only else NAMES, given.n, given.rounds))
    except (EmbeddedError, BenchError) as e:
        sys.exit(str(e))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
