"""How checks are run and reported: their results, time limits, tables and JSON."""

import asyncio
import json
from pathlib import Path

import pytest

from brokers.base import Rejected
from brokers.registry import BUILT_IN
from common.reason_codes import Code
from conformance.harness import HarnessFeature, InjectedFault, NotApplicable
from conformance.registry import CheckFunction, ConformanceCheck, Need, check, expect
from conformance.report import as_json, grid, line, markdown, reasons_of, summary
from conformance.runner import Mark, Result, all_checks, run
from conformance.scenario import Scenario
from tests.conformance.__main__ import main
from tests.conformance.stages import IN_OUR_DATABASE, kinds, names_of, stages_named, stages_of
from tests.conformance.together import run_together


def run_check(work: CheckFunction, *needs: Need, max_seconds: float = 10) -> Result:
    """Run one check on the example's account."""
    check = ConformanceCheck("C00", "a check", "It is one.", needs, work)
    [result] = asyncio.run(run([check], stages_of("tiny")["the example"], max_seconds=max_seconds))
    return result


def outcome_of(work: CheckFunction, *needs: Need, max_seconds: float = 10) -> tuple[Mark, str]:
    result = run_check(work, *needs, max_seconds=max_seconds)
    return result.mark, result.why


async def passes(_: Scenario) -> None:
    pass


async def fails(_: Scenario) -> None:
    expect(1 > 2, "one is not more than two")


async def breaks(_: Scenario) -> None:
    raise ZeroDivisionError("of an adapter")


async def hangs(_: Scenario) -> None:
    await asyncio.Event().wait()


async def does_not_apply(_: Scenario) -> None:
    raise NotApplicable("it rains")


async def is_refused(_: Scenario) -> None:
    raise Rejected(Code.NO_MONEY, "of all things")


async def is_closed(_: Scenario) -> None:
    raise Rejected(Code.MARKET_CLOSED)


def test_each_result_of_a_check() -> None:
    assert outcome_of(passes) == (Mark.OK, "")
    assert outcome_of(fails) == (Mark.FAIL, "one is not more than two")
    assert outcome_of(breaks) == (Mark.FAIL, "ZeroDivisionError: of an adapter")
    assert outcome_of(is_refused) == (Mark.FAIL, "Rejected NO_MONEY of all things")
    assert outcome_of(hangs, max_seconds=0.05) == (Mark.FAIL, "not done after 0 s")
    assert outcome_of(does_not_apply) == (Mark.NOT_APPLICABLE, "it rains")


def test_missing_feature_is_not_a_pass() -> None:
    assert outcome_of(passes, HarnessFeature.PRICES)[0] is Mark.NOT_APPLICABLE
    assert outcome_of(passes, InjectedFault.LATE) == (
        Mark.NOT_APPLICABLE,
        "the example's fake broker cannot cause this fault",
    )


def test_closed_market_is_not_applicable_if_it_cannot_be_opened() -> None:
    """As on a real account at the weekend."""
    assert outcome_of(is_closed) == (Mark.NOT_APPLICABLE, "the market is closed now")


def test_results_of_concurrent_checks_are_in_order() -> None:
    """Two at a time: the first waits for the second; the third does not wait."""
    reached = asyncio.Event()

    async def waits_for_signal(_: Scenario) -> None:
        await reached.wait()

    async def signals(_: Scenario) -> None:
        reached.set()

    works = {"C01": waits_for_signal, "C02": signals, "C03": passes}
    checks = [
        ConformanceCheck(number, "a check", "It is one.", (), work)
        for number, work in works.items()
    ]
    reported: list[str] = []
    open_harness = stages_of("tiny")["the example"]
    results = run_together(
        checks, open_harness, lambda number: reported.append(number.number), at_once=2
    )
    assert [(number.number, number.mark) for number in results] == [
        (number, Mark.OK) for number in works
    ]
    assert sorted(reported) == list(works)


def test_check_number_is_unique() -> None:
    assert all_checks()[0].number == "C01"
    with pytest.raises(ValueError, match="two checks are numbered C01"):
        check(1, "another first")(passes)


RESULTS = {
    "ibkr": [Result("C01", "buy", Mark.OK, "", 12.3), Result("C02", "sell", Mark.FAIL, "no", 4.0)],
    "mt4": [
        Result("C01", "buy", Mark.OK, "", 1.0),
        Result("C02", "sell", Mark.NOT_APPLICABLE, "it cannot", 0.1),
    ],
}


def test_tables_and_json() -> None:
    assert line(RESULTS["ibkr"][1]) == "C02   FAIL       4 ms  sell: no"
    assert summary(RESULTS["mt4"]) == "1 ok, 0 FAIL, 1 n/a"
    assert grid(RESULTS).splitlines() == [
        "            ibkr  mt4",
        "C01   buy   ok    ok",
        "C02   sell  FAIL  n/a",
    ]
    assert json.loads(as_json(RESULTS)) == {
        "ok": 2, "fail": 1, "not_applicable": 1, "adapters": ["ibkr", "mt4"],
        "failed": {"ibkr": {"C02": "no"}},
    }  # fmt: skip


def test_documentation_table() -> None:
    reasons = reasons_of(RESULTS)
    assert reasons == {"ibkr": {}, "mt4": {"C02": "it cannot"}}
    output = markdown(all_checks()[:2], reasons).splitlines()
    assert output[0] == "**A** ibkr, **B** mt4"
    assert output[4].startswith("| C01 | *market order*: ")
    assert output[4].endswith(" |  |")  # applies everywhere
    assert output[5].endswith(" | B (1) |")
    assert output[-1] == "1. it cannot"


def test_program_prints_a_summary(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["conformance", "--adapter", "tiny", "--check", "C01"])
    assert main() == 0
    output = capsys.readouterr().out.splitlines()
    assert output[-2] == "the example: 1 ok, 0 FAIL, 0 n/a"
    assert json.loads(output[-1])["ok"] == 1


def run_program(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["conformance", *words])
    return main()


def test_adapter_argument_is_a_broker_type_or_a_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """mt5-dwx is a broker type, and its stage is beside that of MetaTrader 4."""
    assert [name for _, name in stages_named("mt4")] == ["mt4", "mt5-dwx"]
    assert stages_named("mt5-dwx") == [("mt4", "mt5-dwx")]
    assert stages_named("paper by TCP") == [("paper", "paper by TCP")]
    assert {name for name, path in BUILT_IN.items() if path.startswith("brokers.")} <= {
        name for kind in kinds() for name in (kind, *names_of(kind)) if stages_named(name)
    }
    with pytest.raises(SystemExit):
        run_program(monkeypatch, "--adapter", "mt6")
    assert "there is no stage 'mt6'; the stages are" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_program(monkeypatch, "--adapter", "tiny", "--check", "C999")
    assert "There is no check 'C999'; the numbers are C01 to C1" in capsys.readouterr().err


def test_stage_names_without_a_database_match_the_stages() -> None:
    assert {kind: tuple(stages_of(kind)) for kind in IN_OUR_DATABASE} == IN_OUR_DATABASE


def test_unreviewed_reasons_are_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "reviewed.json"
    monkeypatch.setattr("tests.conformance.reviewed.reviewed_in", lambda kind: path)
    arguments = ("--adapter", "tiny", "--check", "C02")
    assert run_program(monkeypatch, *arguments) == 1
    output = capsys.readouterr().out
    assert "not as reviewed: the example C02: the account does not claim limit orders\n" in output
    assert "--review to write them into " in output
    assert run_program(monkeypatch, *arguments, "--review") == 0
    assert run_program(monkeypatch, *arguments) == 0
    assert json.loads(path.read_text())["the example"].keys() == {"C02"}
