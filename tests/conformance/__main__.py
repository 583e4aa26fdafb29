"""`python -m tests.conformance`: run every check on every adapter and print one table."""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import structlog

from conformance.registry import ConformanceCheck, is_engine_check
from conformance.report import as_json, grid, line, reasons_of, summary
from conformance.runner import Mark, Result, select_checks
from tests.conformance.reviewed import DOCS, differences, page, review
from tests.conformance.stages import (
    at_once,
    kinds,
    needs_database,
    reviewed_in,
    stages_named,
    stages_of,
)
from tests.conformance.together import run_together
from tests.servers import set_up

StageNames = Sequence[tuple[str, str]]


def main() -> int:
    """Return 1 if a check failed, or does not apply for a reason that was not reviewed."""
    arguments = _arguments()
    chosen = select_checks(arguments.check or ())
    if arguments.docs:
        DOCS.write_text(page(chosen))
        return 0
    chosen_stages = [item for stage in arguments.adapter or kinds() for item in stages_named(stage)]
    needs_servers = any(map(is_engine_check, chosen)) or any(
        needs_database(kind) for kind, _ in chosen_stages
    )
    with _servers() if needs_servers else nullcontext():
        results_by_stage = run_stages(chosen_stages, chosen)
    if arguments.review:
        for kind, name in chosen_stages:
            review(kind, reasons_of({name: results_by_stage[name]}), chosen)
    others = [
        item
        for kind, name in chosen_stages
        for item in differences(kind, reasons_of({name: results_by_stage[name]}), chosen)
    ]
    print()
    print(grid(results_by_stage))
    for name, results in results_by_stage.items():
        print(f"{name}: {summary(results)}")
    for item in others:
        print(f"not as reviewed: {item}")
    if others:
        places = sorted({str(reviewed_in(kind)) for kind, _ in chosen_stages})
        print(f"Read the reasons, then repeat with --review to write them into {', '.join(places)}")
    print(as_json(results_by_stage))
    failed = any(
        item.mark is Mark.FAIL for results in results_by_stage.values() for item in results
    )
    return int(failed or bool(others))


def run_stages(
    chosen_stages: StageNames, chosen: Sequence[ConformanceCheck]
) -> dict[str, list[Result]]:
    """Run the checks on each of these stages; return the results by stage."""
    of_adapters = [check for check in chosen if not is_engine_check(check)]
    of_engine = [check for check in chosen if is_engine_check(check)]
    results_by_stage: dict[str, list[Result]] = {name: [] for _, name in chosen_stages}
    for kind, name in chosen_stages if of_adapters else ():
        print(f"\n{name}")
        opened = stages_of(kind)[name]
        results_by_stage[name] += run_together(
            of_adapters, opened, lambda item: print(line(item)), at_once(kind)
        )
    if of_engine:
        _run_with_engine(chosen_stages, of_engine, results_by_stage)
    return results_by_stage


def _run_with_engine(
    chosen_stages: StageNames,
    checks: Sequence[ConformanceCheck],
    results_by_stage: dict[str, list[Result]],
) -> None:
    """Run the checks that need an engine on all of these stages at once; add their results."""
    from tests.conformance.engine.runner import run_engine_checks  # it imports models

    stages = [(kind, name, stages_of(kind)[name]) for kind, name in chosen_stages]
    for name, results in run_engine_checks(stages, checks).items():
        print(f"\n{name}, with an engine")
        print("\n".join(line(item) for item in results))
        results_by_stage[name] += results


@contextmanager
def _servers() -> Iterator[None]:
    """Start servers and a database, and remove them afterwards."""
    from django.test.utils import setup_databases, teardown_databases

    set_up()
    databases = setup_databases(verbosity=0, interactive=False)
    try:
        yield
    finally:
        teardown_databases(databases, verbosity=0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument(
        "--adapter",
        action="append",
        help="a broker type or one of its stages (mt4, mt5-dwx); default: all",
    )
    parser.add_argument("--check", action="append", metavar="C01", help="one check; default: all")
    parser.add_argument("--review", action="store_true", help="store which checks do not apply")
    parser.add_argument(
        "--docs", action="store_true", help="write docs/conformance.md, run nothing"
    )
    arguments = parser.parse_args()
    for stage in arguments.adapter or ():
        try:
            stages_named(stage)
        except KeyError as error:
            parser.error(f"there is no stage {stage!r}; the stages are {error.args[0]}")
    try:
        select_checks(arguments.check or ())
    except LookupError as error:
        parser.error(str(error))
    return arguments


if __name__ == "__main__":  # keeps the adapters' logs out of the table
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.ERROR)
    sys.exit(main())
