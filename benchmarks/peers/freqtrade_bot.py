"""freqtrade: a dry-run bot from its start to the end of its first loop, and its memory.

It is a process for each account. The exchange is a fake one on this machine, so no network is in
the figures; the strategy computes nothing.
"""

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import process_usage
from benchmarks.environment import report_progress
from benchmarks.peers.exchange import PAIR, exchange
from benchmarks.peers.packages import FREQTRADE, SkippedError, python_of, version_of

BOTS = 3  # at once: what they share counts once
IDLE_SECONDS, START_SECONDS = 10.0, 90.0
MINUTE = 60.0
LOOP_ENDED = "Throttling with '_process_running()'"
STRATEGIES = Path(__file__).parent / "freqtrade_strategies"
PRICING = {"price_side": "same", "use_order_book": False, "price_last_balance": 0.0}


def measure(bots: int = BOTS, idle_seconds: float = IDLE_SECONDS) -> dict[str, Any]:
    """Start bots one after the other; return seconds, memory and idle CPU of each.

    Raises SkippedError.
    """
    python = python_of(FREQTRADE)
    version = version_of(python, "freqtrade")
    with (
        exchange() as base,
        tempfile.TemporaryDirectory(prefix="fillcast-freqtrade-") as folder,
        _running(python, base, Path(folder), bots) as (seconds, pids),
    ):
        memory = process_usage.memory_mb({"freqtrade": pids})["freqtrade"]
        before = process_usage.run_seconds({"freqtrade": pids})["freqtrade"]
        time.sleep(idle_seconds)
        used = process_usage.run_seconds({"freqtrade": pids})["freqtrade"] - before
    row = {
        "version": version,
        "bots": bots,
        "start_s": statistics.median(seconds),
        "mb_an_account": memory / bots,
        "idle_cpu_s_a_minute_an_account": used / bots * MINUTE / idle_seconds,
    }
    report_progress(f"  freqtrade: {row['start_s']:.1f} s, {row['mb_an_account']:.0f} MB")
    return row


@contextmanager
def _running(
    python: str, base: str, folder: Path, bots: int
) -> Iterator[tuple[list[float], list[int]]]:
    """Run bots meanwhile; yields how long each took to end its first loop, and their ids."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        seconds = [
            _start(python, base, folder / f"bot-{number}", started) for number in range(bots)
        ]
        yield seconds, [process.pid for process in started]
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait(30)


def _start(python: str, base: str, folder: Path, started: list[subprocess.Popen[bytes]]) -> float:
    """Start one bot; return the seconds until its first loop has ended. Raises SkippedError."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(_config(base, folder)))
    arguments = ["trade", "-v", "--no-color", "--config", str(folder / "config.json")]
    arguments += ["--userdir", str(folder), "--strategy-path", str(STRATEGIES)]
    log, began = folder / "bot.log", time.monotonic()
    with log.open("wb") as output:
        started.append(
            subprocess.Popen(
                [python, "-m", "freqtrade", *arguments, "--strategy", "IdleStrategy"],
                cwd=folder, stdout=output, stderr=subprocess.STDOUT, env=_environ(),
            )
        )  # fmt: skip
    while LOOP_ENDED not in log.read_text():
        if started[-1].poll() is not None or time.monotonic() - began > START_SECONDS:
            lines = log.read_text().strip().splitlines() or ["it printed nothing"]
            raise SkippedError(f"its bot does not reach its loop: {lines[-1]}")
        time.sleep(0.02)
    return time.monotonic() - began


def _environ() -> dict[str, str]:
    """Return the environment without the product's settings."""
    kept = {name: value for name, value in os.environ.items() if "FILLCAST" not in name}
    return {name: value for name, value in kept.items() if not name.startswith("DJANGO")}


def _config(base: str, folder: Path) -> dict[str, Any]:
    spot = f"{base}/api/v3"
    ccxt = {
        "urls": {"api": {"public": spot, "private": spot, "v1": f"{base}/api/v1"}},
        "options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False},
        "enableRateLimit": False,
    }
    return {
        "dry_run": True, "dry_run_wallet": 1000, "initial_state": "running",
        "stake_currency": "USDT", "stake_amount": 20, "max_open_trades": 1,
        "entry_pricing": PRICING, "exit_pricing": PRICING,
        "exchange": {
            "name": "binance", "key": "", "secret": "", "enable_ws": False,
            "pair_whitelist": [PAIR], "ccxt_config": ccxt,
        },
        "pairlists": [{"method": "StaticPairList"}],
        "internals": {"process_throttle_secs": 5},
        "db_url": f"sqlite:///{folder}/trades.sqlite",
    }  # fmt: skip
