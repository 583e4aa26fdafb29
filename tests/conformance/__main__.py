"""`python -m tests.conformance`: every check over every adapter, and one table of all."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence

import structlog

from brokers.conformance.case import Case
from brokers.conformance.run import Mark, Result, cases, run
from brokers.conformance.table import as_json, grid, line, reasons_of, summary
from tests.conformance.reviewed import DOCS, page, review
from tests.conformance.stages import kinds, needs_database, stages_of


def main() -> int:
    """Return 1 if a check failed."""
    wanted = _arguments()
    chosen = [one for one in cases() if not wanted.check or one.number in wanted.check]
    if wanted.docs:
        DOCS.write_text(page(chosen))
        return 0
    found: dict[str, list[Result]] = {}
    if any(needs_database(kind) for kind in wanted.adapter):
        with_database(wanted.adapter, chosen, found)
    else:
        each(wanted.adapter, chosen, found)
    if wanted.review:
        review(reasons_of(found), chosen)
    print()
    print(grid(found))
    for name, results in found.items():
        print(f"{name}: {summary(results)}")
    print(as_json(found))
    return int(any(one.mark is Mark.FAIL for results in found.values() for one in results))


def each(wanted: Sequence[str], chosen: Sequence[Case], found: dict[str, list[Result]]) -> None:
    """Run the checks on each stage of these kinds."""
    for kind in wanted:
        for name, opened in stages_of(kind).items():
            print(f"\n{name}")
            found[name] = asyncio.run(run(chosen, opened, tell=lambda one: print(line(one))))


def with_database(
    wanted: Sequence[str], chosen: Sequence[Case], found: dict[str, list[Result]]
) -> None:
    """The same, on servers of our own that are gone afterwards."""
    from django.test.utils import setup_databases, teardown_databases

    import tests.conftest  # noqa: F401 (starts the servers before Django reads its settings)

    known = setup_databases(verbosity=0, interactive=False)
    try:
        each(wanted, chosen, found)
    finally:
        teardown_databases(known, verbosity=0)


def _arguments() -> argparse.Namespace:
    words = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    words.add_argument("--adapter", action="append", choices=kinds(), help="one kind; all if left")
    words.add_argument("--check", action="append", metavar="C01", help="one check; all if left")
    words.add_argument("--review", action="store_true", help="write down what does not apply")
    words.add_argument("--docs", action="store_true", help="write docs/conformance.md, run nothing")
    told = words.parse_args()
    told.adapter = told.adapter or kinds()
    return told


if __name__ == "__main__":  # what adapters log besides is left out of the table
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.ERROR)
    sys.exit(main())
