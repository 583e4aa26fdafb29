"""What each figure of the results means, in the words of pages, exports and docs/analytics.md."""

from dataclasses import dataclass

from analytics.quality.signals import OTHERS
from analytics.results.statistics import DAYS_A_YEAR, LEAST_DAYS, LEAST_DAYS_OF_A_YEARS_RATE


@dataclass(frozen=True, slots=True)
class Definition:
    """A figure's name, its definition, and when it is not defined ('' : always is)."""

    slug: str
    name: str
    text: str
    undefined: str = ""


DEFINITIONS = (
    Definition(
        "trade", "Trade",
        "A closed position. It belongs to the trading day of its last fill, by the time zone and "
        "the start of day of its account's preset (without one: 17:00 in New York).",
    ),
    Definition(
        "net-result", "Net result",
        "Realized profit minus commission plus swap, in the account's currency. Currencies are "
        "never added to each other, and neither are paper and real money. Fees for which no rate "
        "was quoted are in no figure; they are listed by currency.",
    ),
    Definition("win-rate", "Win rate", "Trades with a net result above 0, of all trades.",
               "Without a trade."),
    Definition("profit-factor", "Profit factor",
               "The sum of winning trades divided by the sum of losing trades.",
               "Without a losing trade."),
    Definition("expectancy", "Expectancy", "The mean net result of a trade.", "Without a trade."),
    Definition("holding", "Average holding", "The mean time from the first fill to the last.",
               "Without a trade."),
    Definition(
        "streaks", "Streaks",
        "The most winning, and the most losing, trades in a row, in closing order over all chosen "
        "accounts. A trade that broke even ends both.",
    ),
    Definition(
        "drawdown-money", "Drawdown of closed trades",
        "The largest fall of the running net result from an earlier peak, the start included, in "
        "closing order.",
    ),
    Definition(
        "equity", "Equity",
        "Balance and open result, as the account was read. A day goes from its first reading to "
        "the next day's first. A day without readings is a gap: the line stops, nothing is drawn "
        "in between.",
    ),
    Definition(
        "return", "Return",
        "Time-weighted: the readings after each deposit or withdrawal cut a day into parts; each "
        "returns (equity at its end − what came in) ÷ equity at its start − 1, and the parts are "
        "multiplied. So no deposit changes a return; once it is −100 % or less, it stays as it is. "
        "Several accounts: their mean, weighted by equity at the start of the day.",
        "Without two readings, and while the equity is not above 0.",
    ),
    Definition(
        "drawdown", "Max drawdown",
        "The largest fall of the time-weighted growth from an earlier end of a day, or the start.",
    ),
    Definition(
        "sharpe", "Sharpe ratio",
        "Mean daily return ÷ sample standard deviation (n − 1) × √" f"{DAYS_A_YEAR}; the risk-free "
        "rate is 0. Only full days count: neither gaps nor the day that goes on. Every date is a "
        "trading day, weekends too.",
        f"With fewer than {LEAST_DAYS} full days, or if all days had the same return.",
    ),
    Definition(
        "sortino", "Sortino ratio",
        "Mean daily return ÷ √(Σ min(return, 0)² ÷ n) × √" f"{DAYS_A_YEAR}; the target is 0.",
        f"With fewer than {LEAST_DAYS} full days, or without a losing day.",
    ),
    Definition("volatility", "Volatility",
               f"Sample standard deviation of daily returns × √{DAYS_A_YEAR}.",
               f"With fewer than {LEAST_DAYS} full days."),
    Definition(
        "calmar", "Calmar ratio",
        f"(1 + return of the full days) ^ ({DAYS_A_YEAR} ÷ days) − 1, divided by their largest "
        "drawdown.",
        f"With fewer than {LEAST_DAYS_OF_A_YEARS_RATE} full days, or without a drawdown.",
    ),
    Definition(
        "costs", "Costs",
        "Commission: as booked, converted at the rate of its fill. Spread: half of the minute's "
        "mean spread at entry and at exit, × quantity. Slippage: (price − expected price) × "
        "quantity, + is worse. Spread and slippage are part of the net result already. Each says "
        "of how many trades it is known.",
    ),
    Definition(
        "swap", "Swap",
        "What brokers book for holding a position overnight: above 0 it was received, below 0 it "
        "was charged. Each amount is the broker's own, counted once by the number of its deal, and "
        "part of the net result. MetaTrader books it with the closing deal; on perpetuals at "
        "Binance, Bybit and OKX it is the funding, shared by the quantities that positions had at "
        "its time. Interactive Brokers charges interest on the account and no swap on a position; "
        "paper accounts simulate none.",
    ),
    Definition(
        "other", "Interest and other",
        "What of the balance's change neither closed trades nor known deposits and withdrawals "
        "explain: interest, fees in other currencies, closed parts of open positions, trades "
        "outside of Fillcast, and deposits or withdrawals that were not recorded.",
        "Without two readings.",
    ),
    Definition(
        "execution", "Execution quality",
        "My entry of a signal against the median of all persons for whom the same signal filled "
        "with the same kind of money: my accounts with real money against others' real fills, my "
        "paper accounts against others' paper fills, which are simulated. A person with several "
        "accounts counts once. "
        f"Shown only where at least {OTHERS} others filled. Slippage in the orders' unit and "
        "in basis points of the expected price. Latency of market entries: from the publication's "
        "orders until sent, and from then until filled.",
        f"With fewer than {OTHERS} other persons, or before the daily job has run.",
    ),
    Definition(
        "recomputed", "Recomputed",
        "A broker may correct a fill after its day has ended. Then the figures of that day are "
        "computed again; the page says how many trades, and when the last one changed.",
    ),
)  # fmt: skip
