"""Write what quantstats computes for the recorded market: data/quantstats-VERSION-recorded.json.

quantstats is no dependency. In an environment of its own, with the recording's returns:

    python -m venv /tmp/quantstats && /tmp/quantstats/bin/pip install quantstats==0.0.86
    .venv/bin/python -m tests.analytics.quantstats_values returns > /tmp/returns.json
    /tmp/quantstats/bin/python tests/analytics/quantstats_values.py golden < /tmp/returns.json
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "data"
PERIODS = 365


def returns() -> dict[str, list[str]]:
    """Return the returns of each pair's minutes."""
    recorded: Any = importlib.import_module("tests.analytics.recorded_market")
    return {pair: [str(one) for one in recorded.minute_returns(pair)] for pair in recorded.PAIRS}


def golden(pair: str, texts: list[str]) -> dict[str, Any]:
    """Return what quantstats computes for a series of daily returns."""
    pandas, stats = map(importlib.import_module, ("pandas", "quantstats.stats"))
    days = pandas.date_range("2026-03-02", periods=len(texts))
    series = pandas.Series([float(text) for text in texts], index=days)
    annual = float((1 + stats.comp(series)) ** (PERIODS / len(texts)) - 1)
    deepest = -float(stats.max_drawdown(series))
    return {
        "pair": pair,
        "total": float(stats.comp(series)),
        "max_drawdown": deepest,
        "volatility": float(stats.volatility(series, periods=PERIODS)),
        "sharpe": float(stats.sharpe(series, periods=PERIODS)),
        "sortino": float(stats.sortino(series, periods=PERIODS)),
        "annual": annual,
        "calmar": annual / deepest,
        "returns": texts,
    }


if __name__ == "__main__":
    if sys.argv[1] == "returns":
        sys.stdout.write(json.dumps(returns()))
    else:
        version = importlib.import_module("quantstats").__version__
        made = [golden(pair, texts) for pair, texts in json.load(sys.stdin).items()]
        path = FOLDER / f"quantstats-{version}-recorded.json"
        path.write_text(json.dumps({"series": made}, indent=1) + "\n")
