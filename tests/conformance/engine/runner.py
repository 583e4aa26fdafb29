"""Runs the engine checks on stages: side by side, along one path of prices."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from conformance.harness import Harness, HarnessFeature, InjectedFault, NotApplicable
from conformance.registry import CheckFailed, ConformanceCheck
from conformance.runner import Mark, OpenHarness, Result
from tests.conformance.engine.account import EngineAccount
from tests.conformance.engine.background import BackgroundLoop, background_loop, opened
from tests.conformance.engine.case import PATH, Case, Step
from tests.conformance.engine.entries import ENTRIES
from tests.conformance.engine.exits import EXITS
from tests.conformance.engine.process import EngineProcess
from tests.conformance.engine.slices import SLICES

CASES: dict[str, type[Case]] = {one.number: one for one in (*ENTRIES, *EXITS, *SLICES)}
NEEDS = (HarnessFeature.ENGINE, HarnessFeature.JOURNAL, HarnessFeature.PRICES)
ALONE = ("mt5",)  # its package finds one terminal, by this process's environment
Stage = tuple[str, str, OpenHarness]  # broker type, name, what opens it
Outcomes = dict[str, tuple[Mark, str]]  # by number of the check


def run_engine_checks(
    stages: Sequence[Stage], checks: Sequence[ConformanceCheck]
) -> dict[str, list[Result]]:
    """Run engine checks on stages; return the results by name of the stage, in order."""
    results: dict[str, list[Result]] = {}
    for group in _groups(stages):
        began = time.perf_counter()
        outcomes = _outcomes_of(group, [check.number for check in checks])
        each = round((time.perf_counter() - began) * 1000 / len(group) / len(checks), 1)
        for name, found in outcomes.items():
            results[name] = [
                Result(one.number, one.name, *found[one.number], each) for one in checks
            ]
    return {name: results[name] for _, name, _ in stages}


def _groups(stages: Sequence[Stage]) -> list[list[Stage]]:
    """Return stages that may run beside each other, in groups of about the same size."""
    alone = [stage for stage in stages if stage[0] in ALONE]
    groups = [[stage] for stage in alone] or [[]]
    for stage in stages:
        if stage not in alone:
            min(groups, key=len).append(stage)
    return [group for group in groups if group]


def _outcomes_of(stages: Sequence[Stage], numbers: Sequence[str]) -> dict[str, Outcomes]:
    outcomes: dict[str, Outcomes] = {name: {} for _, name, _ in stages}
    with background_loop() as loop, ExitStack() as stack:
        harnesses: dict[str, Harness] = {}
        for _, name, open_harness in stages:
            harness = stack.enter_context(opened(open_harness, loop))
            if InjectedFault.STOPS_NEAR not in harness.unavailable:
                loop.run(harness.begin(InjectedFault.STOPS_NEAR))  # C176
            if why := next((harness.unavailable[n] for n in NEEDS if n in harness.unavailable), ""):
                outcomes[name] = dict.fromkeys(numbers, (Mark.NOT_APPLICABLE, why))
            else:
                harnesses[name] = harness
        if harnesses:
            _run(harnesses, loop, numbers, outcomes)
    return outcomes


def _run(
    harnesses: Mapping[str, Harness],
    loop: BackgroundLoop,
    numbers: Sequence[str],
    outcomes: dict[str, Outcomes],
) -> None:
    with EngineProcess(harnesses, loop) as engine:
        for name, why in engine.failed.items():
            outcomes[name] = dict.fromkeys(numbers, (Mark.FAIL, why))
        runs = [
            StageRun(account, [CASES[number]() for number in numbers], outcomes[name])
            for name, account in engine.accounts.items()
        ]
        for step, units in PATH.items():
            if step > Step.BEGIN:
                for run in runs:
                    run.account.move(units)
            for run in runs:
                run.look(step)
            for run in runs:
                run.begin(step)
            for run in runs:
                run.await_begun()
            if step == Step.BEGIN:
                engine.restart()
        for run in runs:
            run.finish()


class StageRun:
    """The cases of a stage along the path; each looks at each step until it has failed."""

    def __init__(self, account: EngineAccount, cases: list[Case], outcomes: Outcomes) -> None:
        self.account, self._waiting, self._outcomes = account, cases, outcomes
        self._starting: list[Case] = []
        self._active: list[Case] = []

    def look(self, step: Step) -> None:
        """Wait until the engine has judged the step's price; let each case look at what it did."""
        if step > Step.BEGIN and self._active:
            try:
                self.account.await_price(PATH[step])
            except CheckFailed as error:
                self._fail_all(str(error))
        self._each(self._active, lambda case: case.at(self.account, step))

    def begin(self, step: Step) -> None:
        """Publish the signals of the cases that begin at this step."""
        self._starting = [case for case in self._waiting if case.begins == step]
        self._waiting = [case for case in self._waiting if case.begins != step]
        self._each(self._starting, lambda case: case.applies(self.account))
        self._each(self._starting, lambda case: case.begin(self.account))

    def await_begun(self) -> None:
        """Wait until the engine has done what it does with them at once."""
        self._each(self._starting, lambda case: case.has_begun(self.account))
        self._active += self._starting
        self._starting = []

    def finish(self) -> None:
        """Let each case look at the end; those that are left have passed."""
        self._each(self._active, lambda case: case.finish(self.account))
        for case in self._active:
            self._outcomes[case.number] = Mark.OK, ""

    def _fail_all(self, why: str) -> None:
        for case in (*self._active, *self._waiting):
            self._outcomes[case.number] = Mark.FAIL, why
        self._active, self._waiting = [], []

    def _each(self, cases: list[Case], work: Callable[[Case], None]) -> None:
        """Do something with each case; remove those that fail or do not apply."""
        for case in list(cases):
            try:
                work(case)
            except NotApplicable as error:
                self._outcomes[case.number] = Mark.NOT_APPLICABLE, str(error)
            except CheckFailed as error:
                self._outcomes[case.number] = Mark.FAIL, str(error)
            else:
                continue
            cases.remove(case)
