"""A strategy of freqtrade that computes nothing and never trades: the loop alone is measured."""

from typing import Any

from freqtrade.strategy import IStrategy


class IdleStrategy(IStrategy):  # type: ignore[misc]
    """Candles of five minutes, no indicator, no signal."""

    timeframe = "5m"
    minimal_roi = {"0": 10.0}
    stoploss = -0.99
    startup_candle_count = 0

    def populate_indicators(self, dataframe: Any, metadata: dict[str, Any]) -> Any:
        """Add nothing."""
        return dataframe

    def populate_entry_trend(self, dataframe: Any, metadata: dict[str, Any]) -> Any:
        """Enter nothing."""
        return dataframe

    def populate_exit_trend(self, dataframe: Any, metadata: dict[str, Any]) -> Any:
        """Leave nothing."""
        return dataframe
