"""The demo as a user starts it: real processes, its own servers, one run from start to end.

Usually with a third of its accounts (small_demo.py).

Its tables exist already, as at each start but the first. A test of tests/ops/stack/test_stack.py
begins with an empty folder.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from demo.accounts import NETTING, Account
from ops.embedded.processes import birth
from prices.recordings import DATA, DEFAULT_FILE, read_quotes
from tests.demo.small_demo import every_account, fewer_accounts
from tests.ports import free_port
from tests.prepared_database import copy_to
from tests.sampling import exhaustive
from tests.server_folders import server_folder

ROOT = Path(__file__).parents[2]
SECONDS = 600  # 150 on an idle machine; a slow one begins again, at half the speed
SPEED = "15"  # a quarter of the usual: what is a second late is 15 seconds late in the market
PIP = Decimal("0.0001")
STOPS = {"sl", "trailing", "break_even"}
CANNOT_CONNECT = {"wrong password", "unreachable"}
# The demo commits hundreds of times a second. Nothing here depends on what survives a power loss.
QUICK = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")
pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.timeout(SECONDS + 60)]


class Run:
    """One run of the demo in a folder of its own.

    command: how Python starts it. accounts: those that it has.
    """

    def __init__(self, folder: Path, command: Sequence[str], accounts: list[Account]) -> None:
        ours = {name: value for name, value in os.environ.items() if "FILLCAST" not in name}
        del ours["DATABASE_URL"], ours["REDIS_URL"]
        self.folder, self.accounts = folder, accounts
        (folder / "sends").mkdir()  # removed with it
        env = {
            **ours,
            "FILLCAST_ENV_FILE": os.devnull,
            "FILLCAST_VAR": str(folder),
            "FILLCAST_LISTEN": str(free_port()),
        }
        self.done = subprocess.run(
            [sys.executable, *command, "--once", "--speed", SPEED],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    @property
    def summary(self) -> dict[str, Any]:
        summary: dict[str, Any] = json.loads(self.done.stdout.splitlines()[-1])
        return summary

    @property
    def slippage(self) -> list[dict[str, Any]]:
        """Return the rows of the slippage table."""
        (path,) = self.folder.rglob("summary.json")
        rows: list[dict[str, Any]] = json.loads(path.read_text())["slippage"]
        return rows

    def left(self) -> list[int]:
        """Return the running processes that name the folder in their environment or command."""
        needle = os.fsencode(self.folder)
        return [
            pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _has(pid, needle)
        ]


def _has(pid: int, needle: bytes) -> bool:
    try:
        texts = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("environ", "cmdline")]
    except OSError:
        return False
    return any(needle in text for text in texts) and birth(pid) is not None


FEWER = ("-m", "tests.demo.small_demo")
ALL = ("manage.py", "demo")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((FEWER, fewer_accounts), id="a third"),
        exhaustive(pytest.param((ALL, every_account), id="all")),
    ],
)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    command, accounts = request.param
    with server_folder("fillcast-demo-") as folder:
        data = copy_to(folder / "postgres")
        with (data / "postgresql.auto.conf").open("a") as settings:
            settings.writelines(f"{setting}\n" for setting in QUICK)
        yield Run(folder, command, accounts())


def test_audit_of_a_demo_run_holds(run: Run) -> None:
    assert run.done.returncode == 0, run.done.stderr
    assert run.summary["ok"] is True
    assert set(run.summary["counters"].values()) == {0}


def test_candidates_are_the_sum_of_all_order_states(run: Run) -> None:
    summary = run.summary
    assert summary["signals"] == 8
    assert summary["candidates"] == 8 * len(run.accounts) == sum(summary["states"].values())
    states = summary["states"]
    assert all(states[state] > 0 for state in ("filled", "skipped", "denied", "rejected"))
    assert states["unknown"] == states["failed"] == 0


def test_positions_close_for_every_reason(run: Run) -> None:
    closes = {reason.partition("target_")[0] or "target" for reason in run.summary["closes"]}
    assert closes - STOPS == {"target", "signal", "owner", "external_close"}
    assert closes & STOPS, "no stop was hit"


def test_slippage_of_the_price_gap_is_reported(run: Run) -> None:
    """The gap of EUR/USD is 31 pips wide. What is sent later fills at a later quote.

    No fill is further from its expected price than the recording is wide. EUR/USD stops that a rule
    moved were at most at the highest price.
    """
    worst = {row["what"]: Decimal(row["worst"]) for row in run.slippage if row["unit"] == "PIPS"}
    assert float(round(max(worst.values()), 1)) == run.summary["slippage_pips_max"]
    assert all(slip <= _width(what) / PIP for what, slip in worst.items())
    stops = [slip for what, slip in worst.items() if what.startswith("EUR/USD stop loss")]
    assert max(stops) >= 20
    assert f"+{max(stops):.1f}" in run.done.stderr


def _width(what: str) -> Decimal:
    """Return highest minus lowest price of the pair that a row of the slippage table is about."""
    quotes = [q for q in read_quotes(DATA / DEFAULT_FILE) if what.startswith(q.symbol)]
    return max(q.ask for q in quotes) - min(q.bid for q in quotes)


def test_stops_trail_and_a_daily_loss_limit_pauses_accounts(run: Run) -> None:
    assert run.summary["stops_moved"] > 0
    assert 0 < run.summary["accounts_paused"] <= 6  # those with the limit
    assert "REALIZED_LOSS_LIMIT" in run.done.stderr


def test_targets_are_hit_and_slices_fill(run: Run) -> None:
    assert run.summary["targets_hit"] > 0
    netting = [account for account in run.accounts if account.trait is NETTING]
    assert run.summary["slices_filled"] > len(netting)  # of at most these: not the first only
    assert "slices of entries filled." in run.done.stderr


def test_first_fill_follows_first_publication(run: Run) -> None:
    assert 0 < run.summary["seconds_to_first_fill"] < 30


def test_output_states_logins_alerts_and_results(run: Run) -> None:
    output = run.done.stderr
    assert "as operator" in output
    assert "password  fillcast-demo" in output
    for code in ("→ 201 accepted as S-1", "→ 200 already known", "→ 400 ", "→ 409 "):
        assert code in output
    total = len(run.accounts)
    failing = sum(account.trait.name in CANNOT_CONNECT for account in run.accounts)
    assert f"The workers tested {total} connections: {total - failing} work" in output
    assert "not accepted. Enter the password again." in output
    assert "S-1 Sell XAU/USD market" in output
    assert "by the owner at the broker" in output


def test_output_in_a_pipe_has_no_colours_or_tracebacks(run: Run) -> None:
    output = run.done.stderr
    assert "\x1b" not in output + run.done.stdout
    assert "Traceback" not in output
    assert "(the scenario expects" not in output
    assert run.done.stdout.count("\n") == 1


def test_run_leaves_a_summary_and_no_process(run: Run) -> None:
    summary = json.loads((run.folder / "demo" / "summary.json").read_text())
    assert len(summary["connections"]) == len(run.accounts)
    assert run.left() == []
