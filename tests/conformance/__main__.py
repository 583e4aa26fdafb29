"""`python -m tests.conformance`: every check over every adapter, and one table of all."""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import structlog

from conformance.registry import Case
from conformance.report import as_json, grid, line, reasons_of, summary
from conformance.runner import Mark, Result, select_cases
from tests.conformance.reviewed import DOCS, differences, page, review
from tests.conformance.stages import at_once, kinds, named, needs_database, reviewed_in, stages_of
from tests.conformance.together import run_together
from tests.servers import set_up

Wanted = Sequence[tuple[str, str]]


def main() -> int:
    """Return 1 if a check failed, or does not apply for a reason that nobody has reviewed."""
    told = _arguments()
    chosen = select_cases(told.check or ())
    if told.docs:
        DOCS.write_text(page(chosen))
        return 0
    wanted = [one for word in told.adapter or kinds() for one in named(word)]
    with _servers() if any(needs_database(kind) for kind, _ in wanted) else nullcontext():
        found = each(wanted, chosen)
    if told.review:
        for kind, name in wanted:
            review(kind, reasons_of({name: found[name]}), chosen)
    others = [
        one
        for kind, name in wanted
        for one in differences(kind, reasons_of({name: found[name]}), chosen)
    ]
    print()
    print(grid(found))
    for name, results in found.items():
        print(f"{name}: {summary(results)}")
    for one in others:
        print(f"not as reviewed: {one}")
    if others:
        places = sorted({str(reviewed_in(kind)) for kind, _ in wanted})
        print(f"Read why, then the same with --review writes it into {', '.join(places)}")
    print(as_json(found))
    failed = any(one.mark is Mark.FAIL for results in found.values() for one in results)
    return int(failed or bool(others))


def each(wanted: Wanted, chosen: Sequence[Case]) -> dict[str, list[Result]]:
    """Run the checks on each of these stages."""
    found: dict[str, list[Result]] = {}
    for kind, name in wanted:
        print(f"\n{name}")
        opened = stages_of(kind)[name]
        found[name] = run_together(chosen, opened, lambda one: print(line(one)), at_once(kind))
    return found


@contextmanager
def _servers() -> Iterator[None]:
    """Servers of our own that are gone afterwards."""
    from django.test.utils import setup_databases, teardown_databases

    set_up()
    known = setup_databases(verbosity=0, interactive=False)
    try:
        yield
    finally:
        teardown_databases(known, verbosity=0)


def _arguments() -> argparse.Namespace:
    words = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    words.add_argument(
        "--adapter", action="append", help="a kind or one stage of it (mt4, mt5-dwx); all if left"
    )
    words.add_argument("--check", action="append", metavar="C01", help="one check; all if left")
    words.add_argument("--review", action="store_true", help="write down what does not apply")
    words.add_argument("--docs", action="store_true", help="write docs/conformance.md, run nothing")
    told = words.parse_args()
    for word in told.adapter or ():
        try:
            named(word)
        except KeyError as error:
            words.error(f"no stage is called {word!r}; there are {error.args[0]}")
    try:
        select_cases(told.check or ())
    except LookupError as error:
        words.error(str(error))
    return told


if __name__ == "__main__":  # what adapters log besides is left out of the table
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.ERROR)
    sys.exit(main())
