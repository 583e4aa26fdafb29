"""Each act takes its advisory locks: on the right key, in the right mode, until its commit.

Such a lock guards what no row does: who is a candidate, the last row below a quota, the order of
alerts. Nothing but two sessions at once shows that it is missing, so a table states which ones
each act must hold at its end, and each is held in another session while the act is repeated.
"""

import re
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from analytics.services import compute_day
from common.clocks import set_market_clock
from common.sealing import new_private_key, public_key_of
from tests.analytics.trading_days import stop_clock
from tests.common import locks_of_accounts as of_accounts
from tests.common import locks_of_signals as of_signals
from tests.common.advisory_locks import (
    held_elsewhere,
    taken_by,
    waits,
)
from tests.common.locks_of_signals import NOW, Case
from tests.kept_rows import kept_rows
from tests.statements import sent_statements
from tests.users.rights_table import Rows
from tests.users.test_clocks_of_acts import MARKET_TIMES, times_stored

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]
LATER = NOW + timedelta(hours=1)
world = kept_rows(Rows)


@pytest.fixture(autouse=True)
def surroundings(settings: Any) -> Iterator[None]:
    key = new_private_key()
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (key,)
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(key)
    yield
    set_market_clock(None)


CASES: dict[str, list[Callable[[Rows], Case]]] = {
    "signals/locks.py": [
        of_signals.publish_a_signal,
        of_signals.publish_a_stored_draft,
        of_signals.subscribe,
        of_signals.end_a_subscription,
        of_signals.route_a_subscription,
        of_signals.archive_an_account,
        of_signals.archive_an_operators_account,
        of_signals.add_an_operators_account,
        of_signals.stop_a_twin,
    ],
    "signals/sequence.py": [
        of_signals.order_alerts_of_a_symbol,
        of_signals.order_alerts_of_all_symbols,
        of_signals.close_all_trades,
    ],
    "signals/publishing/ingest.py": [of_signals.store_an_alert],
    "common/web/quotas.py": [
        of_signals.make_an_address,
        of_signals.make_a_key,
        of_signals.keep_a_draft,
        of_signals.ask_for_a_preflight,
    ],
    "events/confirmation.py": [of_signals.ask_for_a_confirmation],
    "connections/accounts/ownership.py": [
        of_accounts.claim_an_account,
        of_accounts.claim_an_account_by_its_key,
    ],
    "connections/accounts/snapshots.py": [of_accounts.store_a_brokers_symbols],
    "connections/market_data/compatibility.py": [
        of_accounts.share_prices,
        of_accounts.withdraw_prices,
        of_accounts.switch_prices_on,
        of_accounts.choose_shared_prices,
    ],
    "connections/kill_switch.py": [of_accounts.halt_an_account],
    "execution/submission/signal_limits.py": [of_accounts.count_a_limited_signal],
    "execution/scoped/actions.py": [of_accounts.close_everything_once],
    "execution/disaster_recovery/epochs.py": [of_accounts.found_the_first_epoch],
    "brokers/paper/queries.py": [of_accounts.orders_of_a_symbol, of_accounts.prices_of_a_symbol],
    "analytics/results/costs.py": [of_accounts.costs],
    "analytics/services.py": [of_accounts.a_day],
    "analytics/records/computation.py": [of_accounts.a_record],
    "analytics/quality/signals.py": [of_accounts.medians],
}
"""The acts, by the file with the statement of their lock."""
ELSEWHERE = {
    "common/operational/store.py": "tests/common/operational/test_store.py: two changes at once",
    "signals/checks/repetitions.py": "tests/signals/test_repetitions.py: two equal entries at once",
    "events/settings_upkeep.py": "a second process would only repeat one alarm",
    "common/web/repeatable.py": "tests/api/test_repeatable.py: two requests with one key",
    "common/archive/batches.py": "tests/execution/archived: two archivers of one kind",
    "analytics/installation/compute.py": "one day's figures, computed again at each change",
    "ops/kill_switch_drill.py": "a lock of a session, for one drill at a time",
}
ACTS = {case.__name__: case for cases in CASES.values() for case in cases}


@pytest.mark.parametrize("name", ACTS)
def test_act_holds_its_advisory_locks_and_waits_for_them(name: str, world: Rows) -> None:
    act, locks = ACTS[name](world)
    names = {lock.key: lock.name for lock in locks}
    expected = {(lock.key, lock.mode) for lock in locks}
    found = taken_by(act)
    wrong = [f"holds no {mode} lock on {names[key]}" for key, mode in expected - found]
    wrong += [f"holds {mode} {names.get(key, key)}" for key, mode in found - expected]
    for lock in locks:
        with held_elsewhere(lock, "exclusive"):
            if not waits(act):
                wrong.append(f"does not wait for {lock.name}")
    assert not wrong, f"{name}:\n" + "\n".join(wrong)


ENDING: list[Callable[[Rows], Case]] = [
    of_signals.publish_a_signal,
    of_signals.publish_a_stored_draft,
    of_signals.subscribe,
    of_signals.end_a_subscription,
    of_signals.archive_an_account,
    of_signals.archive_an_operators_account,
    of_signals.add_an_operators_account,
    of_signals.stop_a_twin,
]
"""Acts whose times state who was a candidate of which publication."""
TIMES = MARKET_TIMES | {"connections_executionconnection.created_at"}


@pytest.mark.parametrize("case", ENDING)
def test_times_of_candidates_are_of_after_their_lock(
    case: Callable[[Rows], Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The market's clock moves on when the lock is there, as if the act had waited for it."""
    stop_clock(NOW)
    act, _ = case(Rows())
    execute = psycopg.Cursor.execute

    def executed(cursor: Any, query: Any, *rest: Any, **more: Any) -> Any:
        found = execute(cursor, query, *rest, **more)
        if "pg_advisory_xact_lock" in str(query) and "hashtextextended" not in str(query):
            stop_clock(LATER)
        return found

    before = times_stored()
    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", executed)
        act()
    of_market = {pair for pair in times_stored() - before if pair[0] in TIMES}
    early = sorted(column for column, at in of_market if not at.startswith("2026-03-11 13:00"))
    assert of_market
    assert not early, f"{case.__name__} took these times before its lock: {early}"


def test_day_is_read_after_its_lock() -> None:
    """Else the time of reading would be older than what it has read."""
    with sent_statements() as sent:
        compute_day(date(2026, 3, 11))
    places = {part: next(i for i, text in enumerate(sent) if part in text)
              for part in ("pg_advisory_xact_lock", "clock_timestamp() AS now")}  # fmt: skip
    assert places["pg_advisory_xact_lock"] < places["clock_timestamp() AS now"], sent


def test_every_statement_with_an_advisory_lock_has_an_act() -> None:
    taking = re.compile(r"pg_(try_)?advisory_(xact_)?lock")
    folders = {path.parent for path in ROOT.glob("*/apps.py")} | {ROOT / "common", ROOT / "ops",
                                                                  ROOT / "brokers"}  # fmt: skip
    found = {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in folder.rglob("*.py")
        if "migrations" not in path.parts and taking.search(path.read_text())
    }
    assert found == CASES.keys() | ELSEWHERE.keys()
