"""Many gateways and terminals with steady prices, in one process, for benchmarks:
`python -m tests.fakes.session_brokers ROOT STATE GATEWAYS MT4 MT5`.

Each gateway is a TWS of its own with one account, `DU` and its number. Each terminal has its folder
under ROOT, the broker's state under STATE. It prints the gateways' ports as JSON, once all listen
and all terminals have written their files, and ends with its input.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from tests.fakes.dwx import expert_advisor
from tests.fakes.dwx.mt5_expert_advisor import advisor_of
from tests.fakes.dwx.terminal import Terminal
from tests.fakes.tws.server import FakeTws
from tests.fakes.tws.venue import Venue

BID, ASK, SYMBOL = "1.10000", "1.10010", "EURUSD"
QUOTES = ([1.1, 1.1001], [1.10001, 1.10011])
TIMER, REFRESH = 0.025, 1.0  # as a terminal's own
NICENESS = 10  # as the workers that wait for them: brokers are on other machines


def ibkr_account(number: int) -> str:
    """Return the account of a gateway."""
    return f"DU{number:07d}"


def folder_name(number: int, *, is_mt5: bool) -> str:
    """Return the name of a terminal's folder."""
    return f"mt{5 if is_mt5 else 4}-{number}"


async def main(root: Path, state: Path, gateways: int, mt4: int, mt5: int) -> None:
    """Serve until the input ends."""
    os.nice(NICENESS)
    expert_advisor.REFRESH = REFRESH
    servers = [FakeTws(Venue((ibkr_account(number),))) for number in range(gateways)]
    for server in servers:
        await server.open()
        server.venue.quote(SYMBOL, BID, ASK)
    advisors = [
        _advisor(root, state, folder_name(number, is_mt5=is_mt5), is_mt5)
        for is_mt5, count in ((False, mt4), (True, mt5))
        for number in range(count)
    ]
    for advisor in advisors:
        advisor.tick()
    print(json.dumps([server.port for server in servers]), flush=True)
    ended = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
    while not ended.done():
        # A terminal whose prices never change counts as one that has lost its broker.
        quote = QUOTES[int(time.monotonic()) % len(QUOTES)]
        for advisor in advisors:
            advisor.server.state.prices[SYMBOL] = quote
            advisor.tick()
            await asyncio.sleep(0)  # the gateways answer between two terminals
        await asyncio.wait([ended], timeout=TIMER)
    for server in servers:
        await server.close()


def _advisor(root: Path, state: Path, name: str, is_mt5: bool) -> Any:
    terminal = Terminal(root, state / name, name, is_mt5)
    advisor = advisor_of(terminal.folder, terminal.state_folder)
    kind = type(advisor)
    # Faults and events are files of the tests, which each tick would look for.
    advisor.__class__ = type(kind.__name__, (kind,), {"faults": {}, "simulate_events": _nothing})
    return advisor


def _nothing(_: Any) -> list[Path]:
    return []


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])))
