"""The verdict of a chaos run in which nothing was lost because nothing was traded."""

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


def skipped_all(code: Code, at: float = 50) -> Publication:
    """Return a publication that skipped every account."""
    return Publication(at, candidates=500, skipped={code.value: 500})


def broken(kind: str, since: float = 40, until: float = 45) -> Outages:
    return Outages([Outage(kind, since, until)], 0, 100)


def test_run_without_accepted_orders_is_idle() -> None:
    assert idle([TAKEN, TAKEN], accepted=0) == 1_000


def test_run_without_publications_is_idle() -> None:
    assert idle([], accepted=0) == 1


def test_one_tenth_of_undenied_orders_is_enough() -> None:
    refused = Publication(at=50, candidates=500, refused=500)
    assert idle([TAKEN, refused], accepted=50) == 0
    assert idle([TAKEN, refused], accepted=49) == 500


def test_skipped_candidates_count_as_expected() -> None:
    assert idle([skipped_all(Code.CONNECTION_ERROR)] * 9 + [TAKEN], accepted=499) == 5_000


def test_skipping_all_without_fault_is_lockout() -> None:
    publications = [
        TAKEN,
        skipped_all(Code.CONNECTION_NOT_RECONCILED),
        skipped_all(Code.CONNECTION_ERROR),
    ]
    assert shut_out(publications, QUIET) == 2


@pytest.mark.parametrize("kind", ["partition", "broker-kill", "postgres-crash", "mute"])
def test_outage_excuses_during_and_shortly_after(kind: str) -> None:
    assert shut_out([skipped_all(Code.CONNECTION_ERROR)], broken(kind)) == 0
    assert shut_out([skipped_all(Code.CONNECTION_ERROR, at=41)], broken(kind)) == 0
    assert shut_out([skipped_all(Code.CONNECTION_ERROR, at=39)], broken(kind)) == 1
    assert shut_out([skipped_all(Code.CONNECTION_ERROR, at=45 + GRACE)], broken(kind)) == 1


@pytest.mark.parametrize(
    "kind", ["kill", "long-stop", "redis-flush", "redis-kill", "broker-replay"]
)
def test_own_crash_and_redis_do_not_excuse(kind: str) -> None:
    assert shut_out([skipped_all(Code.CONNECTION_ERROR)], broken(kind)) == 1


@pytest.mark.parametrize("kind", ["silent-before", "silent-after", "slow", "late"])
def test_partial_fault_does_not_excuse_skipping_all(kind: str) -> None:
    assert shut_out([skipped_all(Code.CONNECTION_ERROR)], broken(kind)) == 1


def test_excusing_and_other_faults_all_exist() -> None:
    assert WEIGHTS.keys() >= ALL | SOME


def test_outage_does_not_excuse_a_halt() -> None:
    assert shut_out([skipped_all(Code.ENTRIES_HALTED)], broken("partition")) == 1


def test_publication_that_reached_an_account_is_no_lockout() -> None:
    some = Publication(at=50, candidates=500, skipped={Code.CONNECTION_ERROR.value: 499})
    assert shut_out([some], QUIET) == 0


def test_broken_time_counts_overlaps_once() -> None:
    spans = [
        Outage("partition", 10, 30),
        Outage("mute", 20, 40),
        Outage("slow", 90),
        Outage("kill", 50, 60),
    ]
    assert Outages(spans, 0, 100).share("broker") == pytest.approx(0.4)
    assert Outages(spans, 0, 100).share("database") == 0


def test_skipped_orders_are_counted_by_code() -> None:
    publications = [TAKEN, skipped_all(Code.CONNECTION_ERROR), skipped_all(Code.CONNECTION_ERROR)]
    assert Trade(publications, 400, broken("partition", 0, 25)).as_json() == {
        "candidates": 1_500,
        "entries_accepted": 400,
        "skipped": {"CONNECTION_ERROR": 1_000},
        "broken_share": {"broker": 0.25, "database": 0.0},
    }


def became(status: str, reason: str, count: int) -> SimpleNamespace:
    """Return a row with a number of the last signal's orders."""
    return SimpleNamespace(status=status, reason=reason, n=count)


def test_account_skipped_by_final_signal_is_locked_out() -> None:
    orders = [became("FILLED", "", 490), became("SKIPPED", "CIRCUIT_OPEN", 10)]
    assert locked_out(orders, 500) == {"CIRCUIT_OPEN": 10}


def test_remaining_halt_locks_out_at_publication_and_claim() -> None:
    orders = [became("SKIPPED", "ENTRIES_HALTED", 300), became("DENIED", "ENTRIES_HALTED", 200)]
    assert locked_out(orders, 500) == {"ENTRIES_HALTED": 500}


def test_denied_account_counts_as_reached() -> None:
    assert locked_out([became("DENIED", "MAX_POSITIONS", 500)], 500) == {}


def test_account_without_final_order_is_locked_out() -> None:
    assert locked_out([became("FILLED", "", 480)], 500) == {"NOT_CANDIDATES": 20}


def test_expired_waiting_order_counts_as_left_out() -> None:
    assert WAITS == ENTRY_WAITS
    waited = SimpleNamespace(status="DENIED", reason="CONNECTION_NOT_RECONCILED", n=3)
    refused = SimpleNamespace(status="DENIED", reason="MAX_LEVERAGE", n=2)
    assert locked_out([waited, refused], expected=5) == {"CONNECTION_NOT_RECONCILED": 3}
