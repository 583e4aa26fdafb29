"""How checks are run and told: what ends how, in which time, and what people and programs read."""

import asyncio
import json
from pathlib import Path

import pytest

from brokers.base import Rejected
from brokers.registry import BUILT_IN
from common.reason_codes import Code
from conformance.harness import HarnessFeature, InjectedFault, NotApplicable
from conformance.registry import Case, CheckFunction, Need, case, expect
from conformance.report import as_json, grid, line, markdown, reasons_of, summary
from conformance.runner import Mark, Result, cases, run
from conformance.scenario import Scenario
from tests.conformance.__main__ import main
from tests.conformance.stages import IN_OUR_DATABASE, kinds, named, names_of, stages_of
from tests.conformance.together import run_together


def one(work: CheckFunction, *needs: Need, max_seconds: float = 10) -> Result:
    """Run one check on the example's account."""
    check = Case("C00", "a check", "It is one.", needs, work)
    [result] = asyncio.run(run([check], stages_of("tiny")["the example"], max_seconds=max_seconds))
    return result


def ended(work: CheckFunction, *needs: Need, max_seconds: float = 10) -> tuple[Mark, str]:
    result = one(work, *needs, max_seconds=max_seconds)
    return result.mark, result.why


async def nothing(_: Scenario) -> None:
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


def test_each_way_to_end() -> None:
    assert ended(nothing) == (Mark.OK, "")
    assert ended(fails) == (Mark.FAIL, "one is not more than two")
    assert ended(breaks) == (Mark.FAIL, "ZeroDivisionError: of an adapter")
    assert ended(is_refused) == (Mark.FAIL, "Rejected NO_MONEY of all things")
    assert ended(hangs, max_seconds=0.05) == (Mark.FAIL, "not done after 0 s")
    assert ended(does_not_apply) == (Mark.NOT_APPLICABLE, "it rains")


def test_what_a_stage_lacks_is_no_pass() -> None:
    assert ended(nothing, HarnessFeature.PRICES)[0] is Mark.NOT_APPLICABLE
    assert ended(nothing, InjectedFault.LATE) == (
        Mark.NOT_APPLICABLE,
        "the example's fake broker cannot cause this fault",
    )


def test_a_closed_market_is_nobodys_fault_where_it_cannot_be_opened() -> None:
    """As on a real account at the weekend."""
    assert ended(is_closed) == (Mark.NOT_APPLICABLE, "the market is closed now")


def test_checks_that_run_together_are_told_in_their_order() -> None:
    """Two at a time: the first waits for the second, and the third for nobody."""
    came = asyncio.Event()

    async def waits(_: Scenario) -> None:
        await came.wait()

    async def comes(_: Scenario) -> None:
        came.set()

    works = {"C01": waits, "C02": comes, "C03": nothing}
    checks = [Case(number, "a check", "It is one.", (), work) for number, work in works.items()]
    told: list[str] = []
    opened = stages_of("tiny")["the example"]
    results = run_together(checks, opened, lambda one: told.append(one.number), at_once=2)
    assert [(one.number, one.mark) for one in results] == [(one, Mark.OK) for one in works]
    assert sorted(told) == list(works)


def test_a_number_is_given_once() -> None:
    assert cases()[0].number == "C01"
    with pytest.raises(ValueError, match="two checks are numbered C01"):
        case(1, "another first")(nothing)


RESULTS = {
    "ibkr": [Result("C01", "buy", Mark.OK, "", 12.3), Result("C02", "sell", Mark.FAIL, "no", 4.0)],
    "mt4": [
        Result("C01", "buy", Mark.OK, "", 1.0),
        Result("C02", "sell", Mark.NOT_APPLICABLE, "it cannot", 0.1),
    ],
}


def test_the_words() -> None:
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


def test_the_page() -> None:
    reasons = reasons_of(RESULTS)
    assert reasons == {"ibkr": {}, "mt4": {"C02": "it cannot"}}
    told = markdown(cases()[:2], reasons)
    assert "| C02 | *limit order stays open*: " in told
    assert told.splitlines()[3].endswith("| ok | n/a |")
    assert told.endswith("- **ibkr**: \n- **mt4**: C02 (it cannot)")


def test_the_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["conformance", "--adapter", "tiny", "--check", "C01"])
    assert main() == 0
    told = capsys.readouterr().out.splitlines()
    assert told[-2] == "the example: 1 ok, 0 FAIL, 0 n/a"
    assert json.loads(told[-1])["ok"] == 1


def asked_for(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["conformance", *words])
    return main()


def test_a_kind_or_one_stage_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """mt5-dwx is a kind of connection, and its stage lies beside MetaTrader 4's."""
    assert [name for _, name in named("mt4")] == ["mt4", "mt5-dwx"]
    assert named("mt5-dwx") == [("mt4", "mt5-dwx")]
    assert named("paper by TCP") == [("paper", "paper by TCP")]
    assert {name for name, path in BUILT_IN.items() if path.startswith("brokers.")} <= {
        word for kind in kinds() for word in (kind, *names_of(kind)) if named(word)
    }
    with pytest.raises(SystemExit):
        asked_for(monkeypatch, "--adapter", "mt6")
    assert "no stage is called 'mt6'; there are" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        asked_for(monkeypatch, "--adapter", "tiny", "--check", "C999")
    assert "There is no check 'C999'; the numbers are C01 to C1" in capsys.readouterr().err


def test_names_that_are_told_without_a_database_are_the_stages() -> None:
    assert {kind: tuple(stages_of(kind)) for kind in IN_OUR_DATABASE} == IN_OUR_DATABASE


def test_what_nobody_reviewed_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place = tmp_path / "reviewed.json"
    monkeypatch.setattr("tests.conformance.reviewed.reviewed_in", lambda kind: place)
    words = ("--adapter", "tiny", "--check", "C02")
    assert asked_for(monkeypatch, *words) == 1
    told = capsys.readouterr().out
    assert "not as reviewed: the example C02: the account does not claim limit orders\n" in told
    assert "--review writes it into " in told
    assert asked_for(monkeypatch, *words, "--review") == 0
    assert asked_for(monkeypatch, *words) == 0
    assert json.loads(place.read_text())["the example"].keys() == {"C02"}
