"""A source whose statements wait for a lock delays no stop, rule or trigger of other sources."""

import threading
from types import ModuleType
from typing import Any

import pytest

from brokers.types import Quote
from common.clocks import market_now
from execution.monitoring import stop_rules, tick_monitor, trigger_monitor
from tests.until import until

STUCK, OTHER = 1, 2


@pytest.mark.parametrize(
    ("module", "judge", "monitor", "nothing"),
    [
        (tick_monitor, "_process", tick_monitor.TickMonitor, ([], [])),
        (stop_rules, "_apply", stop_rules.StopRuleMonitor, ([], set())),
        (trigger_monitor, "_judge", trigger_monitor.TriggerMonitor, ([], [])),
    ],
)
def test_stuck_source_delays_no_other(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, judge: str, monitor: type, nothing: Any
) -> None:
    """The first source's statement waits until the second source's prices have been judged."""
    judged, released = list[int](), threading.Event()

    def judge_or_wait(source_id: int, *_: Any) -> Any:
        if source_id == STUCK:
            judged.append(STUCK)
            assert released.wait(120)
        judged.append(source_id)
        return nothing

    monkeypatch.setattr(module, judge, judge_or_wait)
    monkeypatch.setattr(tick_monitor, "run", lambda *_: None)  # the heartbeat: no database here
    quotes, watched = [Quote("EUR/USD", 1, 2, market_now())], monitor()  # type: ignore[arg-type]
    stuck = threading.Thread(target=watched.process_quotes, args=(STUCK, quotes))
    other = threading.Thread(target=watched.process_quotes, args=(OTHER, quotes))
    stuck.start()
    until(lambda: judged == [STUCK])
    other.start()
    try:
        until(lambda: judged == [STUCK, OTHER])
    finally:
        released.set()
        stuck.join()
        other.join()
    assert judged == [STUCK, OTHER, STUCK]
