"""Chaos' verdict on a run in which nothing was lost because nothing was done."""

from types import SimpleNamespace

import pytest

from common.reason_codes import Code
from execution.submission.outcomes import ENTRY_WAITS
from tests.faults.chaos.fault_plan import WEIGHTS
from tests.faults.chaos.final_signal import locked_out
from tests.faults.chaos.outages import ALL, SOME, Outage, Outages
from tests.faults.chaos.trading_check import GRACE, WAITS, Publication, Trade, idle, shut_out

QUIET = Outages([], 0, 100)
TAKEN = Publication(at=50, candidates=500)


def nobody(code: Code, at: float = 50) -> Publication:
    """A publication that found every account skipped."""
    return Publication(at, candidates=500, skipped={code.value: 500})


def broken(kind: str, since: float = 40, until: float = 45) -> Outages:
    return Outages([Outage(kind, since, until)], 0, 100)


def test_a_run_in_which_the_broker_took_nothing_is_idle() -> None:
    assert idle([TAKEN, TAKEN], accepted=0) == 1_000


def test_a_run_that_published_nothing_is_idle() -> None:
    assert idle([], accepted=0) == 1


def test_a_tenth_of_what_no_rule_refused_is_enough() -> None:
    refused = Publication(at=50, candidates=500, refused=500)
    assert idle([TAKEN, refused], accepted=50) == 0
    assert idle([TAKEN, refused], accepted=49) == 500


def test_skipped_candidates_were_wanted() -> None:
    assert idle([nobody(Code.CONNECTION_ERROR)] * 9 + [TAKEN], accepted=499) == 5_000


def test_everybody_skipped_while_nothing_is_broken_is_shut_out() -> None:
    told = [TAKEN, nobody(Code.CONNECTION_NOT_RECONCILED), nobody(Code.CONNECTION_ERROR)]
    assert shut_out(told, QUIET) == 2


@pytest.mark.parametrize("kind", ["partition", "broker-kill", "postgres-crash", "mute"])
def test_an_outage_excuses_while_it_lasts_and_for_a_while(kind: str) -> None:
    assert shut_out([nobody(Code.CONNECTION_ERROR)], broken(kind)) == 0
    assert shut_out([nobody(Code.CONNECTION_ERROR, at=41)], broken(kind)) == 0
    assert shut_out([nobody(Code.CONNECTION_ERROR, at=39)], broken(kind)) == 1
    assert shut_out([nobody(Code.CONNECTION_ERROR, at=45 + GRACE)], broken(kind)) == 1


@pytest.mark.parametrize(
    "kind", ["kill", "long-stop", "redis-flush", "redis-kill", "broker-replay"]
)
def test_no_death_of_ours_and_no_redis_excuses(kind: str) -> None:
    assert shut_out([nobody(Code.CONNECTION_ERROR)], broken(kind)) == 1


@pytest.mark.parametrize("kind", ["silent-before", "silent-after", "slow", "late"])
def test_what_hits_every_fifth_account_does_not_excuse_that_all_were_skipped(kind: str) -> None:
    assert shut_out([nobody(Code.CONNECTION_ERROR)], broken(kind)) == 1


def test_what_excuses_and_what_does_not_are_faults_that_there_are() -> None:
    assert WEIGHTS.keys() >= ALL | SOME


def test_a_halt_is_excused_by_no_outage() -> None:
    assert shut_out([nobody(Code.ENTRIES_HALTED)], broken("partition")) == 1


def test_who_reached_somebody_was_not_shut_out() -> None:
    some = Publication(at=50, candidates=500, skipped={Code.CONNECTION_ERROR.value: 499})
    assert shut_out([some], QUIET) == 0


def test_the_share_of_broken_time_counts_what_overlaps_once() -> None:
    spans = [
        Outage("partition", 10, 30),
        Outage("mute", 20, 40),
        Outage("slow", 90),
        Outage("kill", 50, 60),
    ]
    assert Outages(spans, 0, 100).share("broker") == pytest.approx(0.4)
    assert Outages(spans, 0, 100).share("database") == 0


def test_what_was_skipped_is_told_by_code() -> None:
    publications = [TAKEN, nobody(Code.CONNECTION_ERROR), nobody(Code.CONNECTION_ERROR)]
    assert Trade(publications, 400, broken("partition", 0, 25)).as_json() == {
        "candidates": 1_500,
        "entries_accepted": 400,
        "skipped": {"CONNECTION_ERROR": 1_000},
        "broken_share": {"broker": 0.25, "database": 0.0},
    }


def became(status: str, reason: str, n: int) -> SimpleNamespace:
    """So many orders of the last signal."""
    return SimpleNamespace(status=status, reason=reason, n=n)


def test_whom_the_last_signal_skips_when_all_is_mended_is_locked_out() -> None:
    orders = [became("FILLED", "", 490), became("SKIPPED", "CIRCUIT_OPEN", 10)]
    assert locked_out(orders, 500) == {"CIRCUIT_OPEN": 10}


def test_a_halt_that_is_left_over_locks_out_at_publication_and_at_the_claim() -> None:
    orders = [became("SKIPPED", "ENTRIES_HALTED", 300), became("DENIED", "ENTRIES_HALTED", 200)]
    assert locked_out(orders, 500) == {"ENTRIES_HALTED": 500}


def test_whom_a_rule_denies_was_reached() -> None:
    assert locked_out([became("DENIED", "MAX_POSITIONS", 500)], 500) == {}


def test_who_has_no_order_of_the_last_signal_is_locked_out() -> None:
    assert locked_out([became("FILLED", "", 480)], 500) == {"NOT_CANDIDATES": 20}


def test_who_waited_until_it_was_too_old_counts_as_left_out() -> None:
    assert WAITS == ENTRY_WAITS
    waited = SimpleNamespace(status="DENIED", reason="CONNECTION_NOT_RECONCILED", n=3)
    refused = SimpleNamespace(status="DENIED", reason="MAX_LEVERAGE", n=2)
    assert locked_out([waited, refused], wanted=5) == {"CONNECTION_NOT_RECONCILED": 3}
