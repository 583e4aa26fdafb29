"""Reason codes: why something was refused, skipped, denied or closed, or why it is not known.

Each code has one sentence for people and a hint on what they can do; one that compares numbers has
what they are of. A code never changes its meaning and is never used again for something else.
`manage.py reason_codes` writes docs/reason-codes.md from this table.
"""

from enum import StrEnum

from common.figure_names import (
    ACCOUNT_CURRENCY,
    BASE_UNIT,
    OF_EQUITY,
    Bound,
    Limit,
    price,
    seconds,
)


class Code(StrEnum):
    """A stable reason code with a sentence for people and a hint on what to do.

    figures: what its figures are of, unless the refusal itself states that; None: it has none.
    """

    sentence: str
    hint: str
    figures: Limit | None

    def __new__(
        cls, value: str, sentence: str = "", hint: str = "", figures: Limit | None = None
    ) -> "Code":
        member = str.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        member.hint = hint
        member.figures = figures
        return member

    # ---- skipped: a candidate that may not trade now -----------------------------------------
    FEED_OWNER_ONLY = (
        "FEED_OWNER_ONLY",
        "This feed is approved only for its owner's own accounts.",
        "An operator must approve the feed before other accounts can trade its signals.",
    )
    CONNECTION_INACTIVE = (
        "CONNECTION_INACTIVE",
        "The connection is switched off.",
        "Switch it on to trade from the next signal on.",
    )
    CONNECTION_PAUSED = (
        "CONNECTION_PAUSED",
        "The owner has paused the connection.",
        "Resume it to trade from the next signal on.",
    )
    CONNECTION_ERROR = (
        "CONNECTION_ERROR",
        "The connection has been in error since its last contact with the broker.",
        "Read the last error, fix its cause, and run the connection test.",
    )
    ACCOUNT_TRADING_DISABLED = (
        "ACCOUNT_TRADING_DISABLED",
        "The broker does not allow trading on this account now; entries wait.",
        "They are sent when it does, if the signal is not too old by then. If it lasts, switch"
        " trading on where the account is logged in, use the trading password, or ask the broker.",
    )
    CONNECTION_UNREACHABLE = (
        "CONNECTION_UNREACHABLE",
        "The account's broker did not answer several calls; entries wait for it.",
        "They are sent when the broker answers and the account has been reconciled, if the signal"
        " is not too old by then.",
    )
    CONNECTION_UNTESTED = (
        "CONNECTION_UNTESTED",
        "The connection has never passed its test.",
        "Run the connection test once; no entry is sent before it passes.",
    )
    CONNECTION_TEST_PENDING = (
        "CONNECTION_TEST_PENDING",
        "The connection test is requested and has not run yet; entries wait for it.",
        "They are sent when it has passed and the account has been reconciled, if the signal is"
        " not too old by then.",
    )
    ACCOUNT_ANSWER_UNUSABLE = (
        "ACCOUNT_ANSWER_UNUSABLE",
        "The broker's last answer about the account cannot be used; entries wait.",
        "The account is read again automatically within a minute. Entries are sent when the answer"
        " is valid, if the signal is not too old by then. If it lasts, report it to the operators:"
        " the log shows where it fails.",
    )
    CONNECTION_NOT_RECONCILED = (
        "CONNECTION_NOT_RECONCILED",
        "The account has not been compared with its broker since it (re)connected; entries wait.",
        "They are sent after the comparison, seconds later, if the signal is not too old by then.",
    )
    CIRCUIT_OPEN = (
        "CIRCUIT_OPEN",
        "Too many calls in a row failed; the connection is backing off, and entries wait.",
        "It is tried again automatically. Entries are sent then, if the signal is not too old.",
    )
    BROKER_HOST_DOWN = (
        "BROKER_HOST_DOWN",
        "Most accounts at this broker's host cannot be reached; the order waits for it.",
        "It is sent when the host answers again, if the signal is not too old by then.",
    )
    BROKER_MAINTENANCE = (
        "BROKER_MAINTENANCE",
        "The broker is in a maintenance window; the order waits.",
        "It is sent afterwards, if the signal is not too old by then.",
    )
    NO_CREDENTIALS = (
        "NO_CREDENTIALS",
        "No credentials are stored for this account.",
        "Enter the broker's credentials on the connection.",
    )
    CREDENTIALS_NEEDED = (
        "CREDENTIALS_NEEDED",
        "Stored credentials are not sent to another server.",
        "Enter the credentials together with this change.",
    )
    NO_PRESET = (
        "NO_PRESET",
        "The connection has no trading preset, which sets how large a trade may be.",
        "Choose a preset for the connection.",
    )
    NO_DATA_CONNECTION = (
        "NO_DATA_CONNECTION",
        "No price source is set for this account.",
        "Choose one on the account's page: its own broker's prices, or another source.",
    )
    SUBSCRIPTION_PAUSED = (
        "SUBSCRIPTION_PAUSED",
        "The subscription to this feed is paused.",
        "Resume the subscription.",
    )
    SUBSCRIPTION_EXPIRED = (
        "SUBSCRIPTION_EXPIRED",
        "The subscription to this feed has expired.",
        "Renew the subscription.",
    )
    SUBSCRIPTION_ENDED = (
        "SUBSCRIPTION_ENDED",
        "The subscription to this feed ended before the entry was sent.",
        "Subscribe again to take later signals of the feed.",
    )
    DIRECTION_EXCLUDED = (
        "DIRECTION_EXCLUDED",
        "The subscription takes only signals of the other direction.",
        "Change the directions of the subscription.",
    )
    TRADING_HALTED = (
        "TRADING_HALTED",
        "The kill switch is set: no order is sent.",
        "If you set it, choose Resume in the portal. If an operator set it, an operator releases"
        " it in the console.",
    )
    ENTRIES_HALTED = (
        "ENTRIES_HALTED",
        "The kill switch allows exits only.",
        "If you set it, choose Resume in the portal. If an operator set it, an operator releases"
        " it in the console. A provider's halt of a feed is released by the provider.",
    )
    LOSS_LIMIT = (
        "LOSS_LIMIT",
        "The account has lost as much as its limit allows; entries are paused, exits go on.",
        "They resume when the limit's window ends, or by hand on the account's page.",
        Limit("Loss"),
    )
    DRAWDOWN_LIMIT = (
        "DRAWDOWN_LIMIT",
        "The account has fallen from its peak by its limit; entries are paused, exits go on.",
        "They resume when the limit's window ends, or by hand on the account's page.",
        Limit("Drawdown"),
    )
    REALIZED_LOSS_LIMIT = (
        "REALIZED_LOSS_LIMIT",
        "The loss of closed trades has reached its limit; entries are paused, exits go on.",
        "They resume when the limit's window ends, or by hand on the account's page.",
        Limit("Realized loss"),
    )
    LOSING_STREAK = (
        "LOSING_STREAK",
        "Too many trades in a row were lost; entries are paused, exits go on.",
        "They resume when the limit's window ends, or by hand on the account's page.",
        Limit("Losing trades in a row"),
    )

    # ---- denied: our own rules ---------------------------------------------------------------
    SIGNAL_TOO_OLD = (
        "SIGNAL_TOO_OLD",
        "The signal was older than the preset allows, or than operators allow for market entries.",
        "Its age counts from its publication. Raise the preset's maximum age. If most orders of a"
        " signal end this way, ask the operators whether a worker was late.",
        seconds("Age of the signal"),
    )
    QUOTE_MISSING = (
        "QUOTE_MISSING",
        "There is no price for this symbol.",
        "Open the account's price source: it lists the pairs that its broker does not quote.",
    )
    QUOTE_STALE = (
        "QUOTE_STALE",
        "The latest price is too old to trade on.",
        "Open the account's price source: it shows when its last price came and what helps.",
        seconds("Age of the price"),
    )
    ACCOUNT_NOT_SYNCED = (
        "ACCOUNT_NOT_SYNCED",
        "The account's balance has not been read yet.",
        "Run the connection test.",
    )
    INSTRUMENTS_NOT_READ = (
        "INSTRUMENTS_NOT_READ",
        "The list of the account's symbols has not been read yet.",
        "Run the connection test, and wait a minute until the list is read.",
    )
    ACCOUNT_DATA_STALE = (
        "ACCOUNT_DATA_STALE",
        "The account's balance was read too long ago.",
        "Check the connection; balances are read every minute.",
        seconds("Age of the account's data"),
    )
    SYMBOL_NOT_AT_BROKER = (
        "SYMBOL_NOT_AT_BROKER",
        "The account does not list this symbol.",
        "Add it to the subscription's symbol map, or ask the broker to enable it.",
    )
    NO_ROUTE_ACCOUNT = (
        "NO_ROUTE_ACCOUNT",
        "No account of the subscription's route may take the entry.",
        "The detail names why each was left out: end one of these reasons, or change the route.",
    )
    SYMBOL_AMBIGUOUS = (
        "SYMBOL_AMBIGUOUS",
        "The account lists several symbols that fit this pair equally well.",
        "Name the one to trade in the subscription's symbol map.",
    )
    NO_CONVERSION_RATE = (
        "NO_CONVERSION_RATE",
        "There is no rate from the symbol's currency to the account's.",
        "Choose a price source that quotes a pair of the two currencies.",
    )
    CONVERSION_RATE_STALE = (
        "CONVERSION_RATE_STALE",
        "The rate from the symbol's currency to the account's is too old.",
        "Check that the price source still quotes the pair of the two currencies.",
        seconds("Age of the exchange rate"),
    )
    STOP_REQUIRED = (
        "STOP_REQUIRED",
        "Sizing by risk needs a stop loss, and the signal has none.",
        "Publish with a stop, or choose another sizing mode.",
    )
    STOP_AT_ENTRY = (
        "STOP_AT_ENTRY",
        "The stop is at the current price or beyond it, so the loss per unit is not above zero.",
        "Publish with a stop on the right side of the price.",
        price("Entry price", "stop loss"),
    )
    STOP_TOO_NEAR = (
        "STOP_TOO_NEAR",
        "A stop or target is nearer to the price than the broker allows.",
        "Widen the stop or target beyond the symbol's stops level.",
        Limit("Distance of a level from the entry", bound=Bound.MINIMUM),
    )
    QUANTITY_BELOW_MINIMUM = (
        "QUANTITY_BELOW_MINIMUM",
        "The calculated quantity is below the broker's minimum.",
        "Add money, raise the risk or the multiplier, or let the preset trade the minimum.",
        Limit("Quantity", BASE_UNIT, Bound.MINIMUM),
    )
    PROVIDER_SIZE_MISSING = (
        "PROVIDER_SIZE_MISSING",
        "The preset sizes by what the provider traded, and the signal does not state it.",
        "Publish with provider_quantity, for an equity ratio also with provider_equity and "
        "provider_currency, or choose another sizing mode.",
    )
    MAX_QUANTITY = (
        "MAX_QUANTITY",
        "The calculated quantity is above the preset's maximum.",
        "Raise the preset's maximum quantity, or lower the size.",
        Limit("Quantity", BASE_UNIT),
    )
    MAX_OPEN_POSITIONS = (
        "MAX_OPEN_POSITIONS",
        "The account already has as many positions as its preset allows.",
        "Close a position, or raise the limit.",
        Limit("Open positions"),
    )
    MAX_LEVERAGE = (
        "MAX_LEVERAGE",
        "With this order, the notional of all open positions would exceed the allowed leverage.",
        "Close positions, add money or raise the preset's leverage.",
        Limit("Leverage"),
    )
    SYMBOL_EXPOSURE = (
        "SYMBOL_EXPOSURE",
        "With this order, the open notional of the symbol would exceed the allowed part of equity.",
        "Close positions in the symbol, or raise the preset's symbol exposure.",
        Limit("Exposure to the symbol", OF_EQUITY),
    )
    MAX_OPEN_ORDERS = (
        "MAX_OPEN_ORDERS",
        "The account already has the maximum number of entries that are not filled yet.",
        "Cancel an order, or raise the preset's maximum of open orders.",
        Limit("Open orders"),
    )
    MAX_ORDERS_PER_MINUTE = (
        "MAX_ORDERS_PER_MINUTE",
        "The account has sent the maximum number of entries within the last minute.",
        "Check whether the signals are meant, or raise the preset's maximum of orders per minute.",
        Limit("Orders within a minute"),
    )
    DAILY_NOTIONAL = (
        "DAILY_NOTIONAL",
        "With this order, the entries of the trading day would exceed the allowed notional.",
        "Entries are sent again from the next trading day on. Or raise the daily notional.",
        Limit("Notional of the day", ACCOUNT_CURRENCY),
    )
    DAILY_VOLUME = (
        "DAILY_VOLUME",
        "With this order, the trading day's entries in the symbol would exceed the allowed volume.",
        "Entries are sent again from the next trading day on. Or raise the daily volume.",
        Limit("Volume of the day", BASE_UNIT),
    )
    CURRENCY_EXPOSURE = (
        "CURRENCY_EXPOSURE",
        "With this order, the net exposure to a currency would exceed the allowed part of equity.",
        "Close positions in that currency, or raise the maximum currency exposure.",
        Limit("Exposure to a currency", OF_EQUITY),
    )
    SIZE_UNUSUAL = (
        "SIZE_UNUSUAL",
        "The quantity is far above what the account usually trades in this symbol.",
        "Check the preset's size and the signal, or raise the maximum size multiple.",
        Limit("Size", "× the median"),
    )
    SAME_TRADE = (
        "SAME_TRADE",
        "The account has just taken a trade of this feed in the same symbol and on the same side.",
        "Check whether the signal was sent twice, or shorten the same trade window.",
        seconds("Time since the same trade", Bound.MINIMUM),
    )
    SIGNAL_NOTIONAL = (
        "SIGNAL_NOTIONAL",
        "With this order, the signal's entries on all accounts would exceed the feed's limit.",
        "Ask the feed's owner. The limit is the feed's maximum notional of a signal.",
        Limit("This account's notional"),
    )
    DECISION_REJECTED = (
        "DECISION_REJECTED",
        "The preset's decision provider rejected this entry.",
        "The detail has its reason. Change its rules or your service if the entry was wanted.",
    )
    DECISION_UNAVAILABLE = (
        "DECISION_UNAVAILABLE",
        "The preset's decision provider gave no valid answer, and its fail rule denies entries.",
        "The detail has the fault: correct it, or let the provider's fail rule trade without it.",
        Limit("Factor of the decision"),
    )
    NETTING_OPPOSITE = (
        "NETTING_OPPOSITE",
        "The account nets positions: an opposite entry would close what another signal holds or"
        " still enters.",
        "Close or cancel the other trade first, or use a hedging account.",
    )
    OPPOSITE_CLOSING = (
        "OPPOSITE_CLOSING",
        "The opposite position of this symbol is being closed; the entry waits for that.",
        "It is sent when that position is closed, if the signal is not too old by then.",
    )
    MARGIN = (
        "MARGIN",
        "The order needs more margin than the account has free.",
        "Add money or close positions.",
        Limit("Margin", ACCOUNT_CURRENCY),
    )
    TRADE_RISK = (
        "TRADE_RISK",
        "At its stop this entry would lose more of the equity than the preset allows for a trade.",
        "Lower the size or raise the preset's risk of a single trade.",
        Limit("Risk of the trade", OF_EQUITY),
    )
    PORTFOLIO_RISK = (
        "PORTFOLIO_RISK",
        "If all stops were hit together, the loss would exceed the allowed share of equity.",
        "Close positions or raise the preset's portfolio risk.",
        Limit("Risk of all trades", OF_EQUITY),
    )
    SLIPPAGE_LIMIT = (
        "SLIPPAGE_LIMIT",
        "The price had moved further from the signal's price than allowed.",
        "Raise the allowed slippage of the signal or the preset.",
        Limit("Slippage"),
    )
    SLIPPAGE_NOT_KEPT = (
        "SLIPPAGE_NOT_KEPT",
        "This broker cannot keep a market order from being filled beyond the allowed slippage.",
        "Remove the slippage limit from the signal and the preset, or publish a limit order.",
        price("Market price", "worst price"),
    )
    SPREAD_LIMIT = (
        "SPREAD_LIMIT",
        "The spread between bid and ask was wider than allowed.",
        "Wait for a narrower spread, or raise the maximum spread of the signal or the preset.",
        Limit("Spread"),
    )
    SLICES_UNSUPPORTED = (
        "SLICES_UNSUPPORTED",
        "It is not known whether this account nets positions, so it cannot enter in slices.",
        "Test the connection: the account is read then. Or publish without an execution style.",
    )
    SLICES_TOO_FEW = (
        "SLICES_TOO_FEW",
        "Each target needs a part of each slice, so too few slices were left, or only one.",
        "Publish it with fewer or larger targets or with fewer slices, or trade a larger size.",
        Limit("Slices", bound=Bound.MINIMUM),
    )
    SLICE_PRICE_LIMIT = (
        "SLICE_PRICE_LIMIT",
        "The market was beyond the price limit of the slices.",
        "The next slice is checked again. At the beginning, the whole entry is denied: publish it"
        " again with a wider price limit.",
        price("Market price", "price limit"),
    )
    SLICE_MISSED = (
        "SLICE_MISSED",
        "The slice could not be sent before the next one was due.",
        "Its quantity is sent by the next slices, or left out, as the signal's catch-up rule says.",
    )
    SLICE_NOT_NEEDED = (
        "SLICE_NOT_NEEDED",
        "The plan has nothing left for this slice, or less than the broker's minimum.",
        "Nothing to do.",
    )
    SLICES_ENDED = (
        "SLICES_ENDED",
        "The entry in slices ended before this slice, for the reason in its detail.",
        "Publish a new signal if you want the rest of the trade.",
    )
    SLICES_POSITION_CLOSED = (
        "SLICES_POSITION_CLOSED",
        "The position was closed, so no more slices enter it.",
        "Publish a new signal if you want the trade again.",
    )
    PRICE_UNREASONABLE = (
        "PRICE_UNREASONABLE",
        "A price of the signal is further from the market than the preset allows.",
        "Check the price that is named, or raise the preset's maximum price or level deviation.",
        Limit("Distance from the market", "%"),
    )
    PRICE_FAR_FROM_MARKET = (
        "PRICE_FAR_FROM_MARKET",
        "A price of the signal is further from the market than its feed allows.",
        "Check it for a wrong digit or a misplaced point. If it is meant, raise the feed's maximum"
        " price or level deviation.",
    )
    DISTANCE_BELOW_TICK = (
        "DISTANCE_BELOW_TICK",
        "A distance is smaller than the smallest step of the price, so the next quote reaches it.",
        "Check it for a wrong digit, and its unit: trail_distance is in the quote currency,"
        " trail_pips in pips.",
        Limit("Trailing distance", bound=Bound.MINIMUM),
    )
    SYMBOL_NOT_ALLOWED = (
        "SYMBOL_NOT_ALLOWED",
        "The account's preset does not allow this symbol.",
        "Add the symbol to the preset's allowed symbols, or use another preset.",
        Limit("Symbol", bound=Bound.ALLOWED, word="not in"),
    )
    OUTSIDE_SESSION = (
        "OUTSIDE_SESSION",
        "The account sends entries only in its trading sessions, and this is outside of them.",
        "Wait for the next session, or change the trading sessions.",
        Limit("Time", bound=Bound.ALLOWED, word="not in"),
    )
    OUTSIDE_MARKET_HOURS = (
        "OUTSIDE_MARKET_HOURS",
        "The market of this symbol is closed.",
        "Publish when it is open, or let the preset send entries outside of market hours.",
        Limit("Time", bound=Bound.ALLOWED, word="market opens"),
    )
    ORDER_TYPE_UNSUPPORTED = (
        "ORDER_TYPE_UNSUPPORTED",
        "The account does not support this order type or time in force.",
        "Publish another type, or use another account.",
    )
    LIMIT_ORDERS_OFF = (
        "LIMIT_ORDERS_OFF",
        "Limit orders are switched off on this installation.",
        "Send a market order, or ask an administrator: console, Settings, enable_limit_orders.",
    )
    STOP_ORDERS_OFF = (
        "STOP_ORDERS_OFF",
        "Orders that wait for a stop price are switched off on this installation.",
        "Send a market order, or ask an administrator: console, Settings, enable_stop_orders.",
    )
    ACTIVATION_REACHED = (
        "ACTIVATION_REACHED",
        "The market has passed the activation price of the trailing stop.",
        "Set it above the market for a sell and below it for a buy, or leave it out.",
        price("Market price", "activation price"),
    )
    TRAIL_TOO_WIDE = (
        "TRAIL_TOO_WIDE",
        "The distance of the trailing stop is as large as the price itself.",
        "Check its unit: trail_distance is in the quote currency, trail_pips in pips.",
        price("Trailing distance", "price"),
    )
    ATR_UNKNOWN = (
        "ATR_UNKNOWN",
        "There are too few prices of the symbol for its average true range (ATR).",
        "It needs 15 complete candles, and a price that has moved in them. Wait until the price"
        " source has them, choose shorter ones (trail_atr_minutes), or send another distance.",
    )
    PRICE_WRONG_SIDE = (
        "PRICE_WRONG_SIDE",
        "The market has reached the order's own price, and this broker refuses such an order.",
        "Set a BUY LIMIT or SELL STOP below the market, a SELL LIMIT or BUY STOP above it, or"
        " publish a market order.",
        price("Market price", "its own price"),
    )
    LIMIT_BEYOND_STOP = (
        "LIMIT_BEYOND_STOP",
        "This broker takes a stop-limit order only if its limit is better than its stop price.",
        "Set the limit of a BUY below its stop price, of a SELL above it, or publish a stop order.",
        price("Limit price", "stop price"),
    )
    EXPIRY_TOO_NEAR = (
        "EXPIRY_TOO_NEAR",
        "The broker does not take an expiry that is so near.",
        "Set valid_until further ahead, or publish with time in force GTC: Fillcast then cancels"
        " the order at valid_until.",
        seconds("Time until its end", Bound.MINIMUM),
    )

    # ---- order outcomes ----------------------------------------------------------------------
    SIGNAL_EXPIRED = (
        "SIGNAL_EXPIRED",
        "The signal's valid-until time passed before the order could be sent.",
        "You need not do anything; the order is never sent late.",
    )
    VALID_UNTIL_ENDED = (
        "VALID_UNTIL_ENDED",
        "The order's valid-until time passed, so Fillcast cancelled it at the broker.",
        "You need not do anything; what had filled before stays open.",
    )
    CLOSED_BEFORE_SENT = (
        "CLOSED_BEFORE_SENT",
        "The provider closed the trade before this order was sent.",
    )
    LEVEL_PAST_ENTRY = (
        "LEVEL_PAST_ENTRY",
        "The stop or a target was moved past the price of the entry before it had filled, so the"
        " entry was cancelled: its position would have been closed as it opened.",
        "You need not do anything: what had filled keeps its position with the new levels. To enter"
        " all the same, publish a new signal.",
        price("Entry price", "stop loss"),
    )
    SIGNAL_CANCELLED = ("SIGNAL_CANCELLED", "The provider cancelled the signal.")
    OWNER_CANCELLED = ("OWNER_CANCELLED", "The owner cancelled the order.")
    SEND_DEADLINE = (
        "SEND_DEADLINE",
        "The order could not be sent before its send deadline.",
        "It is tried again automatically while the signal is valid.",
    )
    KILL_SWITCH = (
        "KILL_SWITCH",
        "The kill switch was set, or could not be read, at the moment of sending.",
        "Release the kill switch.",
    )
    DECISION_AWAITED = (
        "DECISION_AWAITED",
        "The preset's decision provider is being asked about this entry.",
        "It is sent, scaled or denied when the answer comes, within seconds.",
    )
    PRICE_AWAITED = (
        "PRICE_AWAITED",
        "The broker was asked for the first price of this symbol; the order waits for it.",
        "It usually comes within seconds. Without a price the entry is denied.",
    )
    AWAITING_TRIGGER = (
        "AWAITING_TRIGGER",
        "Fillcast holds the order until the market reaches its trigger; nothing is at the broker.",
        "Its price source must be up. Cancel the order, or close its signal, to end it.",
    )
    TRIGGERED = (
        "TRIGGERED",
        "The market has reached the order's trigger; it is sent now.",
        "",
    )
    PARTIAL_CLOSE_REMEMBERED = (
        "PARTIAL_CLOSE_REMEMBERED",
        "A CLOSE of a part came before this entry had filled: that part of what fills is closed"
        " then.",
        "",
    )
    CLOSE_TIME_MOVED = (
        "CLOSE_TIME_MOVED",
        "The provider has changed when the position is closed.",
        "",
    )
    TIME_EXIT = (
        "TIME_EXIT",
        "The closing time of the position has come: it is closed now.",
        "",
    )
    EXIT_CONDITION_SET = (
        "EXIT_CONDITION_SET",
        "The provider has named another signal whose state closes the position.",
        "",
    )
    CONDITION_EXIT = (
        "CONDITION_EXIT",
        "This account has done with another signal what closes this trade.",
        "",
    )
    EXIT_CONDITION_FAILED = (
        "EXIT_CONDITION_FAILED",
        "What would close the position cannot happen any more on this account.",
        "Its other exits stay. Close it by hand, or publish a CLOSE, if you want it closed.",
    )
    AWAITING_CONDITION = (
        "AWAITING_CONDITION",
        "Fillcast holds the order until its condition holds; nothing is at the broker.",
        "It waits for a time, or for what this account does with another signal. Cancel the order,"
        " or close its signal, to end it.",
    )
    CONDITION_MET = (
        "CONDITION_MET",
        "The order's condition holds: it works from now on.",
        "",
    )
    CONDITION_FAILED = (
        "CONDITION_FAILED",
        "What the order waited for cannot happen any more on this account.",
        "Nothing to do. Publish a new signal if you still want the trade.",
    )
    OCO_OTHER_LEG_TRIGGERED = (
        "OCO_OTHER_LEG_TRIGGERED",
        "The market reached the other order of the pair first: one cancels the other.",
        "Nothing to do. It stays cancelled even if the other order was denied or rejected then; to"
        " try again, publish a new pair.",
    )
    EXIT_AWAITS_OTHERS = (
        "EXIT_AWAITS_OTHERS",
        "Other exits are closing the whole position; this exit waits for their outcome.",
        "You need not do anything: it is sent if they leave something open.",
    )
    EXIT_AWAITS_NUMBER = (
        "EXIT_AWAITS_NUMBER",
        "The broker has not reported its number of the position yet; the exit waits for it.",
        "The broker is asked automatically. If it lasts, check the account at the broker.",
    )
    EXIT_AWAITS_LEVELS = (
        "EXIT_AWAITS_LEVELS",
        "The broker is asked to remove stop and target, so that the exit cannot reverse the"
        " position.",
        "The exit is sent when the broker has removed them.",
    )
    EXIT_AWAITS_READ = (
        "EXIT_AWAITS_READ",
        "The broker is asked how much of the position it still holds; the exit waits for that.",
        "It is sent when the broker has answered.",
    )
    EXIT_AWAITS_FACTS = (
        "EXIT_AWAITS_FACTS",
        "The exit's size was refused, or is below what was listed; that is being read again.",
        "Within seconds the exit is sent with a size that the broker lists now.",
    )
    EXIT_AWAITS_COMPARISON = (
        "EXIT_AWAITS_COMPARISON",
        "The broker holds less of the position than can be sold; the account is being compared.",
        "What was closed at the broker is closed here within seconds. If it lasts, resolve the"
        " account's differences: the exit waits for that.",
    )
    ROUTED = (
        "ROUTED",
        "The subscription's route chose the account for this entry.",
        "The log of the order has the accounts and figures that it was chosen by.",
    )
    SLICE_SCHEDULED = (
        "SLICE_SCHEDULED",
        "The slice waits for its time in the plan.",
        "It is sent then, if the limits, the market and the kill switch allow it.",
    )
    SLICE_UNKNOWN = (
        "SLICE_UNKNOWN",
        "It is not known whether an earlier slice arrived at the broker; nothing is sent until it"
        " is.",
        "It is looked up at the broker. The plan goes on when its outcome is known.",
    )
    AGGREGATION_AWAITED = (
        "AGGREGATION_AWAITED",
        "The entry waits for others of its account, symbol and side, to be sent with them as one"
        " order.",
        "It is sent when the account's window has passed, with others or alone.",
    )
    AGGREGATED = (
        "AGGREGATED",
        "The entry was sent as one order with others of its account, symbol and side.",
        "What the broker executes is allotted to each by its size.",
    )
    EARLIER_COMMAND = (
        "EARLIER_COMMAND",
        "The terminal takes one command at a time and has not answered the one before.",
        "The order is sent, in its turn, when that command is answered or has timed out.",
    )
    BROKER_SLOW = (
        "BROKER_SLOW",
        "The account's broker answers slowly and already has as many calls as slow brokers may.",
        "The order is sent when one of those calls has ended.",
    )
    NO_SESSION_WORKER = (
        "NO_SESSION_WORKER",
        "No session worker is running for this account; the order waits for one.",
        "Ask the operators to start the session worker that the doctor names.",
    )
    NO_WORKER = (
        "NO_WORKER",
        "The order is due, and no worker has begun to send it yet.",
        "A worker sends it: an exit always, an entry if its signal is not too old by then;"
        " otherwise the entry ends unsent. A short wait is normal while many orders are sent at"
        " once. If it lasts, ask the operators whether the doctor names a worker that does not"
        " run.",
    )
    SESSION_MOVED = (
        "SESSION_MOVED",
        "Another worker took over the account's session before the order was sent.",
        "That worker tries it again automatically.",
    )
    NOT_CONNECTED = (
        "NOT_CONNECTED",
        "There is no connection to the broker; nothing was sent.",
        "It is tried again automatically while the signal is valid.",
    )
    REOPENING_AWAITED = (
        "REOPENING_AWAITED",
        "The broker's server closed the position automatically and may open it again.",
        "Wait a minute: it continues with the position, or with its close.",
    )
    SEND_RETRIES_EXHAUSTED = (
        "SEND_RETRIES_EXHAUSTED",
        "Every attempt to send the order failed before anything left.",
        "Fix the connection; an operator may retry the order.",
    )
    NEVER_ARRIVED = (
        "NEVER_ARRIVED",
        "The broker was asked twice and never received the order.",
        "Nothing was traded; an operator may retry the order.",
    )
    REPLY_LOST = (
        "REPLY_LOST",
        "The order was sent and no answer came; the broker is being asked.",
        "Wait: the order is looked up, and not sent again unless the broker is proven not to have"
        " it.",
    )
    WORKER_LOST = (
        "WORKER_LOST",
        "The process that sent the order died before it stored the outcome; the broker is being"
        " asked.",
        "Wait: the order is looked up, and not sent again unless the broker is proven not to have"
        " it.",
    )
    WORKER_LOST_UNSENT = (
        "WORKER_LOST_UNSENT",
        "The process that was to send the order died before it did.",
        "It is tried again automatically while the signal is valid.",
    )
    UNEXPECTED = (
        "UNEXPECTED",
        "An unexpected error in our own program.",
        "Report the reference in the log to the operators.",
    )
    ORDER_PROCESSING_FAILED = (
        "ORDER_PROCESSING_FAILED",
        "This order makes our program fail; it was set aside before it was sent.",
        "Report the reference in the log to the operators.",
    )
    UNKNOWN_TOO_LONG = (
        "UNKNOWN_TOO_LONG",
        "It has been unknown for a long time whether the broker has the order.",
        "Look it up at the broker, and reconnect the account. The broker is asked until it is"
        " known.",
    )
    STUCK = (
        "STUCK",
        "The broker accepted the order and should have ended it long ago; it is being asked.",
        "Wait some seconds: the order is then cancelled or reported to you, as the preset sets.",
    )
    STUCK_CANCELLED = (
        "STUCK_CANCELLED",
        "The order was stuck at the broker, so its cancellation was requested.",
        "You need not do anything: the preset's stuck policy is Cancel.",
    )
    STUCK_ESCALATED = (
        "STUCK_ESCALATED",
        "The order is stuck: the broker reports that it still works on it.",
        "Check it at the broker, then cancel it here, or set the preset's stuck policy to Cancel.",
    )
    CANCEL_UNANSWERED = (
        "CANCEL_UNANSWERED",
        "The broker was asked to cancel the order several times, and it is still there.",
        "Cancel it at the broker. The request is repeated every half minute.",
    )
    CANCEL_DELAYED = (
        "CANCEL_DELAYED",
        "The cancel could not be sent to the broker yet: its host is overloaded or cannot be"
        " reached, the account has no session, or no session worker is running for it.",
        "It is tried again until it succeeds. If that is too late, cancel the order at the broker."
        " Operators: start the session worker that the doctor names, if one is missing.",
    )
    UNEXPECTEDLY_LIVE = (
        "UNEXPECTEDLY_LIVE",
        "The broker has the order, though it was taken as never sent or never arrived.",
        "Report it to the operators: a safeguard has failed. The order is now handled as live.",
    )
    RESEND = (
        "RESEND",
        "The broker is proven not to have the exit; it is sent again under its id.",
    )
    OPERATOR_RETRY = ("OPERATOR_RETRY", "An operator requested another try.")

    RESTORE_CHECK = (
        "RESTORE_CHECK",
        "The database may be an older copy; orders wait until that is known.",
        "This takes seconds. If it lasts, the operators see the reason under Recovery.",
    )
    RESTORED = (
        "RESTORED",
        "The database was restored; the broker is asked what happened to this order since the"
        " backup.",
        "Wait for the answer. Never enter the order again by hand.",
    )
    RESTORED_UNSENT = (
        "RESTORED_UNSENT",
        "It was waiting at the time of the backup and may have been sent since; it is not sent"
        " again.",
        "Look for it among the differences from the broker. Publish it again only if it is not"
        " there.",
    )
    RESTORED_EXIT = (
        "RESTORED_EXIT",
        "It was waiting at the time of the backup and may have been sent since. It is sent once the"
        " broker is seen to hold everything that it would close.",
        "If the quantities differ, decide the difference, then close the position by hand.",
    )
    RESTORE_CLEARED = (
        "RESTORE_CLEARED",
        "The broker still holds what it closes, so it had not been sent; it is sent now.",
    )

    # ---- the broker's refusals, one name for all brokers --------------------------------------
    REJECTED_BY_BROKER = (
        "REJECTED_BY_BROKER",
        "The broker rejected it.",
        "Read the broker's own text beside it.",
    )
    NO_MONEY = (
        "NO_MONEY",
        "Broker: not enough money for the margin.",
        "Add money or lower the size.",
    )
    MARKET_CLOSED = (
        "MARKET_CLOSED",
        "Broker: the market is closed.",
        "Wait until the market opens.",
    )
    STOPS_INVALID = (
        "STOPS_INVALID",
        "Broker: a stop or target is too near to the price or on the wrong side.",
        "Widen the stop or target beyond the symbol's stops level.",
    )
    LEVELS_FROZEN = (
        "LEVELS_FROZEN",
        "Broker: the price is so near to a level or to the order that nothing can be changed now.",
        "It can be changed when the price has moved beyond the symbol's freeze level.",
    )
    VOLUME_INVALID = (
        "VOLUME_INVALID",
        "Broker: the quantity is not valid for this symbol.",
        "Check the symbol's minimum, step and maximum.",
        Limit("Quantity", BASE_UNIT),
    )
    PRICE_INVALID = ("PRICE_INVALID", "Broker: the price is not valid.", "Check the order's price.")
    REQUOTE = (
        "REQUOTE",
        "Broker: the price has changed.",
        "The order is tried once more automatically.",
    )
    TRADING_DISABLED = (
        "TRADING_DISABLED",
        "Broker: trading is disabled for this account.",
        "Switch trading on where the account is logged in, or ask the broker to; then test again.",
    )
    SYMBOL_TRADING_DISABLED = (
        "SYMBOL_TRADING_DISABLED",
        "Broker: positions in this symbol cannot be opened on this account.",
        "The account trades its other symbols. Ask the broker for this one; if every symbol is "
        "refused, log the account in with its trading password.",
    )
    SIDE_NOT_ALLOWED = (
        "SIDE_NOT_ALLOWED",
        "Broker: this symbol cannot be traded in this direction (long only or short only).",
        "The account trades its other symbols and the other direction. Ask the broker, or remove "
        "this direction from the subscription.",
    )
    CREDENTIALS_REFUSED = (
        "CREDENTIALS_REFUSED",
        "Broker: login or password not accepted.",
        "Enter the credentials again and run the connection test.",
    )
    ACCOUNT_MISMATCH = (
        "ACCOUNT_MISMATCH",
        "These credentials belong to another account at the broker than the one traded here.",
        "Enter the credentials of this connection's account. To trade the other account, add a"
        " connection for it, or change this one while nothing is open.",
    )
    UNKNOWN_ACCOUNT = (
        "UNKNOWN_ACCOUNT",
        "The broker does not know this account.",
        "Check the server and the account number. If the number is wrong, remove this connection"
        " and add it again.",
    )
    UNKNOWN_SYMBOL_AT_BROKER = (
        "UNKNOWN_SYMBOL_AT_BROKER",
        "Broker: it does not list this symbol.",
        "Map the symbol on the subscription.",
    )
    MARGIN_MODE_DIFFERS = (
        "MARGIN_MODE_DIFFERS",
        "The exchange has another margin mode for this symbol than the account demands.",
        "Change it at the exchange when nothing of the symbol is open, or the account's setting.",
    )
    LEVERAGE_DIFFERS = (
        "LEVERAGE_DIFFERS",
        "The exchange has another leverage for this symbol than the account demands.",
        "Set it at the exchange, or change the account's setting.",
    )
    NO_PRICE_WITHIN_LIMIT = (
        "NO_PRICE_WITHIN_LIMIT",
        "Immediate-or-cancel or fill-or-kill found no price within its limit.",
    )
    NO_POSITION = (
        "NO_POSITION",
        "Broker: there is no such position (any more).",
        "The account is compared with the broker at once, which shows how it was closed there.",
    )
    EXIT_SHORTENED = (
        "EXIT_SHORTENED",
        "The exchange closed all that was open, which was less than this exit was to close.",
        "The account is compared with the exchange, which shows how the rest was closed.",
    )
    TIME_IN_FORCE_ENDED = (
        "TIME_IN_FORCE_ENDED",
        "The order's time in force ended at the broker.",
    )
    BROKER_UNREACHABLE = (
        "BROKER_UNREACHABLE",
        "The broker could not be reached.",
        "Check host and network; it is tried again automatically.",
    )
    CLIENT_ID_IN_USE = (
        "CLIENT_ID_IN_USE",
        "Broker: another session uses this client id.",
        "End the other program, or give the connection a client id of its own.",
    )
    NO_MARKET_DATA = (
        "NO_MARKET_DATA",
        "Broker: this account does not receive live prices of the symbol.",
        "Subscribe to the exchange's live data at the broker and end other sessions of the login.",
    )
    INVALID_QUOTE = (
        "INVALID_QUOTE",
        "The broker sent an invalid price; it was ignored.",
        "If it happens again and again, choose another price source.",
    )
    OTHER_CLIENT_ID = (
        "OTHER_CLIENT_ID",
        "The order was placed under another client id, and only that one can change or cancel it.",
        "Change it in TWS itself; an exit of the position closes its group.",
    )
    RATE_LIMITED = (
        "RATE_LIMITED",
        "Broker: too many requests; it accepted nothing.",
        "It is tried again automatically. Fewer programs on the same account or address help.",
    )
    BROKER_CLOCK = (
        "BROKER_CLOCK",
        "Broker: the request came too late or our clock differs from its own; it accepted nothing.",
        "Set this machine's clock by NTP; it is tried again automatically.",
    )
    LIBRARY_MISSING = (
        "LIBRARY_MISSING",
        "The library for this broker type is not installed where orders are sent.",
        "Operators: install what the message names on every trading process's machine.",
    )
    HEDGING_NEEDED = (
        "HEDGING_NEEDED",
        "This broker type needs a hedging account, and this account nets its positions.",
        "If MetaTrader's title bar shows “Hedge”, set `hedging` in the settings; otherwise use the"
        " broker type mt5.",
    )
    TERMINAL_LIMIT = (
        "TERMINAL_LIMIT",
        "The expert advisor in the terminal allows no more orders, or no lots as large.",
        "Raise MaximumOrders and MaximumLotSize in the inputs of DWX_Server in MetaTrader.",
    )
    REMAINDER_NOT_CANCELLABLE = (
        "REMAINDER_NOT_CANCELLABLE",
        "The order was filled in part, and the expert advisor cannot delete the rest: it still"
        " works.",
        "Delete the rest in MetaTrader by hand, or close the position and then cancel it here.",
    )
    NOT_SUPPORTED = (
        "NOT_SUPPORTED",
        "Broker: it does not support this.",
        "See docs/brokers.md, what each broker supports.",
    )

    AUDIT_NOT_READ = (
        "AUDIT_NOT_READ",
        "The broker's list of this account was not read in time, so the audit cannot judge it.",
        "Start the worker that holds its session, then run the audit again.",
    )

    # ---- input at our entry points -----------------------------------------------------------
    NUMBER_MALFORMED = (
        "NUMBER_MALFORMED",
        "Not a plain decimal number.",
        "Write it as 1.2345: ASCII digits, a point, no exponent and no separators.",
    )
    NUMBER_NOT_POSITIVE = (
        "NUMBER_NOT_POSITIVE",
        "The number must be greater than zero.",
        "Leave the field out where it does not apply.",
    )
    FIELD_REQUIRED = ("FIELD_REQUIRED", "A required field is missing.", "Add the named field.")
    FIELD_UNKNOWN = (
        "FIELD_UNKNOWN",
        "This field is not known here.",
        "Remove it, or correct its name.",
    )
    SETTING_IN_USE = (
        "SETTING_IN_USE",
        "This setting cannot be changed while an order or a position of the account is open.",
        "Close what is open first, or add a connection for the other account.",
    )
    ACCOUNT_IN_USE = (
        "ACCOUNT_IN_USE",
        "Something is still open in this account.",
        "Close it first, and wait for orders on their way: a removed account is not monitored.",
    )
    FIELD_INVALID = ("FIELD_INVALID", "The value of a field is not allowed.")
    PAPER_NEEDS_SHARED = (
        "PAPER_NEEDS_SHARED",
        "A paper account trades only on recorded prices and on sources that operators share.",
        "Choose one of those, or ask the operators to share a price source of theirs.",
    )
    NO_SHARED_PRICES = (
        "NO_SHARED_PRICES",
        "There are no prices for paper accounts yet.",
        "Ask the operators to share a price source; then open the account again.",
    )
    PAPER_ACCOUNT_LIMIT = (
        "PAPER_ACCOUNT_LIMIT",
        "You have as many paper accounts as one user may open.",
        "Remove one that you no longer use.",
    )
    SAMPLE_NEEDS_DEMO = (
        "SAMPLE_NEEDS_DEMO",
        "Sample orders are placed on paper and demo accounts only.",
        "Open a paper account, or connect a demo account of the broker; if this is one, test it, so"
        " that the broker states it. MetaTrader by files does not state it.",
    )
    SAMPLE_MARKET_CLOSED = (
        "SAMPLE_MARKET_CLOSED",
        "The market of the sample order is closed.",
        "Wait until it opens, or choose a symbol whose market is open.",
    )
    SAMPLE_NOT_OPEN = (
        "SAMPLE_NOT_OPEN",
        "No sample order of this account is open.",
        "Place one first; one that was closed needs nothing more.",
    )
    SYMBOL_UNKNOWN = (
        "SYMBOL_UNKNOWN",
        "The symbol does not show what is traded.",
        "Write it as BASE/QUOTE, for example EUR/USD, or as EXCHANGE:TICKER.",
    )
    SYMBOL_NOT_LISTED = (
        "SYMBOL_NOT_LISTED",
        "No account that takes the feed lists this symbol.",
        "Correct its spelling, or have subscribers map it to their broker's name of it.",
    )
    QUOTE_CROSSED = (
        "QUOTE_CROSSED",
        "The bid is above the ask.",
        "Send the highest price to buy as bid and the lowest price to sell as ask, of one moment.",
    )
    QUOTE_TOO_OLD = (
        "QUOTE_TOO_OLD",
        "The quote is too old to be a price of now.",
        "Send quotes as they come, and set the clock of their machine (NTP).",
    )
    QUOTE_FROM_FUTURE = (
        "QUOTE_FROM_FUTURE",
        "The quote's time is in the future.",
        "Send its time in UTC or with its offset, and set the clock of its machine (NTP).",
    )
    QUOTE_OUT_OF_ORDER = (
        "QUOTE_OUT_OF_ORDER",
        "The quote is not newer than the last one of its symbol.",
        "Send the quotes of a symbol in order, from one sender, each with a time of its own.",
    )
    SYMBOL_NOT_OF_SOURCE = (
        "SYMBOL_NOT_OF_SOURCE",
        "The price source does not take this symbol.",
        "Write it as the source's settings do (EUR/USD), or have operators add it there.",
    )
    SOURCE_NOT_PUSHED = (
        "SOURCE_NOT_PUSHED",
        "No quotes can be pushed to this price source.",
        "Choose a source of the kind push that is switched on; operators add them in the console.",
    )
    STOP_WRONG_SIDE = (
        "STOP_WRONG_SIDE",
        "The stop loss is on the wrong side of the entry.",
        "For a buy the stop lies below the entry, for a sell above it.",
        price("Stop loss", "entry price"),
    )
    TARGET_WRONG_SIDE = (
        "TARGET_WRONG_SIDE",
        "A target is on the wrong side of the entry.",
        "For a buy targets lie above the entry, for a sell below it.",
        price("Take profit", "entry price"),
    )
    TARGET_FRACTIONS = (
        "TARGET_FRACTIONS",
        "The fractions of the targets must each be above 0 and together at most 1.",
    )
    PRICE_REQUIRED = (
        "PRICE_REQUIRED",
        "This order type needs a price.",
        "A limit order needs open_price, a stop order needs stop_price, a stop-limit order both.",
    )
    REFERENCE_REQUIRED = (
        "REFERENCE_REQUIRED",
        "MODIFY and CLOSE must name the published signal that they refer to.",
        "Set refers_to (or refers_to_external_id) to a published OPEN signal of the same feed.",
    )
    BODY_NOT_JSON = (
        "BODY_NOT_JSON",
        "The body is not JSON.",
        "Send a JSON object with content type application/json.",
    )
    BODY_TOO_LARGE = ("BODY_TOO_LARGE", "The body is too large.", "Send at most 16 KiB.")
    DUPLICATE_KEY = (
        "DUPLICATE_KEY",
        "The JSON object has a key twice.",
        "Send each key once: it is not clear which value you mean.",
    )
    DUPLICATE_SIGNAL = (
        "DUPLICATE_SIGNAL",
        "A signal with this external id was already received with other contents.",
        "Use a new external id for a new signal.",
    )
    SIGNAL_REPEATED = (
        "SIGNAL_REPEATED",
        "The feed has the same entry already, by what this installation compares.",
        "Cancel the first one, or send what differs. Administrators choose what is compared:"
        " console, Settings, dedupe_by.",
    )
    DUPLICATE_REQUEST = (
        "DUPLICATE_REQUEST",
        "A request with this Idempotency-Key was already carried out with other contents.",
        "Use a new key for a new request.",
    )
    REQUEST_RUNNING = (
        "REQUEST_RUNNING",
        "The first request with this Idempotency-Key is still being answered.",
        "Send it again after the seconds in Retry-After: you get the answer of the first one.",
    )
    SECRET_SHOWN_ONCE = (
        "SECRET_SHOWN_ONCE",
        "The first request with this Idempotency-Key was carried out; its answer showed a secret,"
        " which is never shown again.",
        "If you did not get it, revoke or replace what the first request made.",
    )
    FEED_NOT_APPROVED = (
        "FEED_NOT_APPROVED",
        "The feed may not publish without approval; its signals wait for it.",
        "An operator must approve the feed or the signal.",
    )
    FEED_UNKNOWN = ("FEED_UNKNOWN", "There is no such feed, or the token is not its own.")
    SUBJECT_UNKNOWN = (
        "SUBJECT_UNKNOWN",
        "No operator has let this subject of a bus in.",
        "An operator adds a route for it, and then replays the message: docs/bus-types.md.",
    )
    MESSAGE_ID_REPEATED = (
        "MESSAGE_ID_REPEATED",
        "Another message with this id came by the same subject of a bus before.",
        "Replay the message if it is to be carried out, and have its sender give each an id of its"
        " own.",
    )
    SCHEMA_UNKNOWN = (
        "SCHEMA_UNKNOWN",
        "The message follows a version of the schema that this installation does not know.",
        "Upgrade Fillcast and replay the message, or send the version that docs/bus-types.md has.",
    )
    REPORTED_ORDER_UNKNOWN = (
        "REPORTED_ORDER_UNKNOWN",
        "A report about fills names an order that its account does not have.",
        "Check which account the subject is for, and the client order id.",
    )
    ALERT_TOO_OLD = (
        "ALERT_TOO_OLD",
        "By its own time the alert is outside the replay window, or the entry is too old.",
        "Check the sender's clock, and whether its alerts arrive late.",
    )
    ALERT_EXPIRED = (
        "ALERT_EXPIRED",
        "The alert waited too long before a worker could publish it; nothing was done.",
        "Send it again if it is still meant. Operators see whether workers were down.",
    )
    ALERT_SOURCE_NOT_ALLOWED = (
        "ALERT_SOURCE_NOT_ALLOWED",
        "The feed does not accept alerts from this network address.",
        "Add the sender's address to the feed's addresses for alerts, or send from a listed one.",
    )
    ALERT_SYMBOL_NOT_ALLOWED = (
        "ALERT_SYMBOL_NOT_ALLOWED",
        "The feed does not open trades in this symbol by alerts.",
        "Add the pair to the feed's symbols for alerts, or leave that list empty to allow all.",
    )
    ALERT_PROCESSING_FAILED = (
        "ALERT_PROCESSING_FAILED",
        "The alert makes our program fail; it was set aside, and nothing was done.",
        "Report its number to the operators. Send what you meant by hand.",
    )
    ALERT_WAITS_FOR_WORKER = (
        "ALERT_WAITS_FOR_WORKER",
        "The alert is stored and waits for a worker to publish it.",
        "It takes less than a second, unless no worker runs.",
    )
    ALERT_WAITS_ITS_TURN = (
        "ALERT_WAITS_ITS_TURN",
        "The alert waits for an earlier one of its symbol.",
        "Alerts of one symbol are published in the order in which they arrived.",
    )
    ALERT_OUT_OF_ORDER = (
        "ALERT_OUT_OF_ORDER",
        "A later alert has already ended or changed what this one is about; nothing was done.",
        "If you meant both, you need not do anything. Check the feed's latest signals.",
    )
    ALERT_AMBIGUOUS = (
        "ALERT_AMBIGUOUS",
        "The alert could mean two things; nothing was done.",
        "Send the one that you mean: OPEN or CLOSE, the strategy's position before and after the "
        "order, or the text as the detail says.",
    )
    ALERT_NOT_UNDERSTOOD = (
        "ALERT_NOT_UNDERSTOOD",
        "A part of the alert is not understood; nothing was done.",
        "Write it as the detail says, and test it on the feed's page Alerts (docs/alerts.md).",
    )
    ALERT_WITHOUT_TRADE = (
        "ALERT_WITHOUT_TRADE",
        "The feed has no open trade that the alert could be about; nothing was done.",
        "Check the symbol, or whether the trade has ended. To change a certain one, send its id.",
    )
    ALERT_CONTRADICTORY = (
        "ALERT_CONTRADICTORY",
        "The alert contradicts itself: its side, positions and sizes do not fit together.",
        "Use the message of the documented template, unchanged.",
    )
    ALERT_EDIT_CHANGES_MEANING = (
        "ALERT_EDIT_CHANGES_MEANING",
        "The edited message says more than other stops and targets; nothing was done.",
        "Answer the message with an instruction, for example close or cancel, or send a new one.",
    )
    ALERT_EDITED = (
        "ALERT_EDITED",
        "The message was edited before it was published; its new text counts instead.",
        "The log shows the new text as an alert of its own, and what became of it.",
    )
    ALERT_EDIT_UNKNOWN = (
        "ALERT_EDIT_UNKNOWN",
        "A message was edited that the feed does not know; nothing was done.",
        "Send it as a new message if it is still meant.",
    )
    TELEGRAM_CHAT_NOT_ALLOWED = (
        "TELEGRAM_CHAT_NOT_ALLOWED",
        "The message comes from a chat that the feed does not accept.",
        "Allow the chat on the feed's page Alerts if it is yours.",
    )
    TELEGRAM_SENDER_NOT_ALLOWED = (
        "TELEGRAM_SENDER_NOT_ALLOWED",
        "The feed accepts no messages of this sender in this chat.",
        "Add the sender's number to the chat on the feed's page Alerts.",
    )
    TELEGRAM_FORWARDED = (
        "TELEGRAM_FORWARDED",
        "The message was forwarded from a chat that the feed does not accept.",
        "Write it yourself, or allow forwarded messages of that chat on the feed's page Alerts.",
    )
    TELEGRAM_TOKEN_REFUSED = (
        "TELEGRAM_TOKEN_REFUSED",
        "Telegram does not accept the bot's token.",
        "Ask BotFather for the bot's token, and paste it on the feed's page Alerts.",
    )
    TELEGRAM_TOKEN_UNREADABLE = (
        "TELEGRAM_TOKEN_UNREADABLE",
        "The stored token of the bot cannot be opened here.",
        "Paste the token again on the feed's page Alerts.",
    )
    TELEGRAM_CONFLICT = (
        "TELEGRAM_CONFLICT",
        "Another program reads the messages of this bot.",
        "Stop the other program or its webhook, or create a bot for this feed only.",
    )
    TELEGRAM_SLOW_DOWN = (
        "TELEGRAM_SLOW_DOWN",
        "Telegram asks us to wait before the next call.",
        "Nothing to do: messages wait at Telegram and are read afterwards.",
    )
    TELEGRAM_UNREACHABLE = (
        "TELEGRAM_UNREACHABLE",
        "Telegram does not answer as it should.",
        "It is tried again by itself; messages wait at Telegram for up to 24 hours.",
    )
    TELEGRAM_BOT_TAKEN = (
        "TELEGRAM_BOT_TAKEN",
        "Another feed uses this bot.",
        "Create a bot for each feed, or remove it from the other feed first.",
    )
    SIGNAL_NOT_APPROVED = (
        "SIGNAL_NOT_APPROVED",
        "Only approved signals can be published.",
        "Approve the signal first.",
    )
    SIGNAL_NOT_PUBLISHED = ("SIGNAL_NOT_PUBLISHED", "The signal has not been published.")
    SIGNAL_ENDED = ("SIGNAL_ENDED", "The signal was cancelled or is no longer valid.")
    AUTHENTICATION_REQUIRED = (
        "AUTHENTICATION_REQUIRED",
        "The request does not identify you.",
        "Send `Authorization: Bearer <API key>` or log in.",
    )
    PERMISSION_DENIED = ("PERMISSION_DENIED", "Your role does not allow this.")
    API_KEY_MADE_WITH_KEY = (
        "API_KEY_MADE_WITH_KEY",
        "The key that you sent was made with a key, so it makes no keys.",
        "Make the key with the first key, or sign in and make it under API keys.",
    )
    RIGHT_MISSING = (
        "RIGHT_MISSING",
        "None of your roles includes this right, or your API key leaves it out.",
        "Ask an administrator for a role that has it; docs/roles.md lists them.",
    )
    OWN_RIGHTS = (
        "OWN_RIGHTS",
        "You cannot change your own rights, switch yourself off, reset your own second factor, or"
        " set your own password without the current one.",
        "Ask another administrator. Your own password is changed under “Change password”, your own"
        " second factor under “My security”.",
    )
    RIGHTS_ABOVE_OWN = (
        "RIGHTS_ABOVE_OWN",
        "You cannot give rights that you do not have, or act on a user who has more.",
        "Ask an administrator; for a superuser, another superuser.",
    )
    NOT_FOUND = ("NOT_FOUND", "There is nothing here, or it is not yours.")
    ORDER_ARCHIVED = (
        "ORDER_ARCHIVED",
        "The order ended without a fill long ago, and its row is in the archive.",
        "An operator reads it with `manage.py read_archive orders`.",
    )
    METHOD_NOT_ALLOWED = ("METHOD_NOT_ALLOWED", "This address does not allow this method.")
    NOT_ACCEPTABLE = ("NOT_ACCEPTABLE", "The requested content type is not available.")
    SECOND_FACTOR_WRONG = (
        "SECOND_FACTOR_WRONG",
        "That code is not right, or it was used before.",
        "Enter the code that the app shows now, or a recovery code that was never used.",
    )
    SECOND_FACTOR_NEEDED = (
        "SECOND_FACTOR_NEEDED",
        "This needs your second factor again: you entered it too long ago.",
        "Enter a code at /security/confirm/ in this browser, then try again within 5 minutes.",
    )
    SECOND_FACTOR_REQUIRED = (
        "SECOND_FACTOR_REQUIRED",
        "Staff of this installation must have a second factor.",
        "Replace it under Security instead of turning it off.",
    )
    THROTTLED = ("THROTTLED", "Too many requests.", "Wait for the seconds in Retry-After.")
    STATE_CONFLICT = (
        "STATE_CONFLICT",
        "The current state does not allow this.",
        "Read the object again: it has changed.",
    )
    OBJECT_CHANGED = (
        "OBJECT_CHANGED",
        "The object has changed since you read it: its ETag is not the one in If-Match.",
        "Read it again, and send your change with its new ETag.",
    )
    PRECONDITION_UNSUPPORTED = (
        "PRECONDITION_UNSUPPORTED",
        "This operation takes no If-Match.",
        "Send it without the header. Nothing was changed.",
    )
    ORDER_ENDED = (
        "ORDER_ENDED",
        "The order has ended, so there is nothing to change any more.",
        "Read the order again. To trade again, publish a new signal.",
    )
    ORDER_IN_FLIGHT = (
        "ORDER_IN_FLIGHT",
        "The order is being sent, or its outcome is not known yet.",
        "Change it once the broker has confirmed it, usually within seconds.",
    )
    ORDER_BEING_CANCELLED = (
        "ORDER_BEING_CANCELLED",
        "The order is being cancelled, so it cannot be changed.",
        "Wait for the cancellation, then publish a new signal.",
    )
    CHANGED_SINCE_SHOWN = (
        "CHANGED_SINCE_SHOWN",
        "It has changed since the page was shown, so nothing was sent.",
        "Look at the present values and confirm again.",
    )
    BREAK_EVEN_NOT_REACHED = (
        "BREAK_EVEN_NOT_REACHED",
        "The price is not beyond the level, so a stop there would close the position at once.",
        "Wait until it is, choose a smaller offset, or close the position.",
    )
    STOP_IS_BETTER = (
        "STOP_IS_BETTER",
        "The stop is at that level already, or at a better one.",
        "To move it back nevertheless, enter the price as a new stop.",
    )
    LEVEL_TOO_NEAR = (
        "LEVEL_TOO_NEAR",
        "The level is nearer to the price than the broker accepts.",
        "Move it further from the price, or close the position instead.",
    )
    TRAILING_NOT_SET = (
        "TRAILING_NOT_SET",
        "The stop of this position does not trail.",
    )
    EXIT_ABOVE_OPEN = (
        "EXIT_ABOVE_OPEN",
        "The quantity is larger than what is open and not being closed already.",
        "Enter at most that quantity, or close all of it.",
    )
    CHANGE_OPEN = (
        "CHANGE_OPEN",
        "An earlier change of this order is not finished yet.",
        "Wait until it is, usually a second, or cancel the order.",
    )
    CHANGE_UNSUPPORTED = (
        "CHANGE_UNSUPPORTED",
        "This order, or this part of it, cannot be changed at its broker.",
        "Cancel it, and publish a new signal with the new price or quantity.",
    )
    CHANGE_BELOW_FILLED = (
        "CHANGE_BELOW_FILLED",
        "The new quantity is not above what has filled already.",
        "To keep only what has filled, cancel the rest of the order.",
        Limit("Quantity", BASE_UNIT, Bound.COMPARED_WITH, "filled"),
    )
    NOTHING_TO_CHANGE = (
        "NOTHING_TO_CHANGE",
        "The order already has these values.",
        "",
    )
    CHANNEL_UNCONFIRMED = (
        "CHANNEL_UNCONFIRMED",
        "The e-mail address of this channel is not confirmed yet.",
        "Open the link in the message that was sent there, or have the message sent again.",
    )
    CONFIRMATION_INVALID = (
        "CONFIRMATION_INVALID",
        "This confirmation link or code is not valid or has expired.",
        "Have the message sent again and use the newest one: Channels in the portal, or "
        "POST /channels/{id}/resend/.",
    )
    CONFIRMATION_LIMIT = (
        "CONFIRMATION_LIMIT",
        "No further confirmation message is sent now: there is a limit for each channel and user.",
        "Look for the last message, also among spam, or try again later.",
    )
    SIGN_UP_OFF = (
        "SIGN_UP_OFF",
        "This installation does not let people sign up in this way.",
        "Ask an administrator for a login or an invitation. users.sign_up decides.",
    )
    LINK_INVALID = (
        "LINK_INVALID",
        "This link was used before, or it is too old.",
        "Ask for a new link, on the page where you asked for this one.",
    )
    MAIL_MISSING = (
        "MAIL_MISSING",
        "This installation cannot send mail, so no link can be sent.",
        "Ask an administrator: FILLCAST_EMAIL_URL and FILLCAST_PUBLIC_URL must be set.",
    )
    LOGIN_IN_USE = (
        "LOGIN_IN_USE",
        "The login cannot be deleted while money is at risk or others depend on it.",
        "Close the positions, cancel the orders and archive the feeds that the page lists.",
    )
    EXPORT_LIMIT = (
        "EXPORT_LIMIT",
        "An export of your data is being made, or was made a short time ago.",
        "Download that one, or ask again later.",
    )
    PREFLIGHT_RUNNING = (
        "PREFLIGHT_RUNNING",
        "A preflight of this account and feed is running with other choices.",
        "It takes seconds: look at its result, then run it again.",
    )
    TOO_MANY_PREFLIGHTS = (
        "TOO_MANY_PREFLIGHTS",
        "As many preflights of yours as one person may have are under way.",
        "Each takes seconds: wait for one to end, then ask again.",
    )
    CANNOT_SUBSCRIBE = (
        "CANNOT_SUBSCRIBE",
        "The account cannot trade this feed yet.",
        "Do what the message lists, then subscribe.",
    )
    TWIN_NOT_POSSIBLE = (
        "TWIN_NOT_POSSIBLE",
        "This subscription cannot have a paper twin.",
        "A twin runs beside accounts with real money; those of a route count in one currency.",
    )
    TWIN_LIMIT = (
        "TWIN_LIMIT",
        "You have as many paper twins as one user may have.",
        "Stop one that you no longer need.",
    )
    TWIN_FOLLOWS = (
        "TWIN_FOLLOWS",
        "A paper twin follows its live subscription.",
        "Change the live subscription, or stop the twin.",
    )
    FOLLOWERS_ACCOUNTS = (
        "FOLLOWERS_ACCOUNTS",
        "Only operators may hold, cancel or close what a feed's followers have open: the accounts"
        " are not the provider's. Halt your feed with REDUCING and no further option: none of its"
        " entries is sent, and exits go on.",
        "Close what the feed has open by a CLOSE signal; end its entries by cancelling signals.",
    )
    HALT_LIMIT = (
        "HALT_LIMIT",
        "You have set as many halts as one user may have at a time.",
        "Release those that you no longer need. One halt of yourself stops all your accounts; you"
        " may always set it.",
    )
    QUOTA_REACHED = (
        "QUOTA_REACHED",
        "You have as many of these as one owner may have.",
        "Those that were made within the last 24 hours may count although they were removed: try"
        " again later then.",
    )
    EPOCH_OPEN = (
        "EPOCH_OPEN",
        "The database was restored, and not everything that it lost is resolved.",
        "Resolve what the page of the recovery epoch lists, then release the epoch.",
    )
    DUST = (
        "DUST",
        "What is left of the position is less than the broker sells.",
        "You need not do anything: it is closed here at the last price. The coins stay in your"
        " account; sell them there together with others, or convert them.",
    )
    EXIT_BELOW_MINIMUM = (
        "EXIT_BELOW_MINIMUM",
        "The position is open, and its size or value is below what its exchange sells: it cannot be"
        " closed now.",
        "Sell or convert it at the exchange yourself, or wait: once its price or the exchange's"
        " minimum allows it, an exit is sent for a stop or target that is still reached, and for a"
        " full CLOSE signal of the last seven days. Your own close and a partial CLOSE are not"
        " repeated: send them again then.",
    )
    NOTHING_TO_CLOSE = (
        "NOTHING_TO_CLOSE",
        "The whole position is closed or being closed.",
    )
    HOST_NOT_ALLOWED = (
        "HOST_NOT_ALLOWED",
        "The host is in a network that the operators have not allowed.",
        "Enter a private gateway by its IP address, and ask an operator to allow its network.",
    )
    INTERNAL_ERROR = (
        "INTERNAL_ERROR",
        "An error occurred on our side; nothing of this request was stored.",
        "Try again. If it happens again, give the operators the request id.",
    )
    DATABASE_BUSY = (
        "DATABASE_BUSY",
        "The database could not serve this request in time; nothing of it was stored.",
        "Send it again after some seconds.",
    )
    OUTCOME_UNKNOWN = (
        "OUTCOME_UNKNOWN",
        "The connection to the database was lost at the end of this request.",
        "Check whether it was carried out before you send it again.",
    )
    INSTALLATION_FAULT = ("INSTALLATION_FAULT", "A part of the installation does not answer.")

    # ---- drift ------------------------------------------------------------------------------
    UNKNOWN_ORDER = ("UNKNOWN_ORDER", "The broker reports an order with our tag that we lack.")
    FORGOTTEN_ORDER = (
        "FORGOTTEN_ORDER",
        "We sent this order to the broker, but the restored database does not have it.",
        "Check in the broker's history what happened to it, then decide.",
    )
    ARCHIVED_ORDER_REPORTED = (
        "ARCHIVED_ORDER_REPORTED",
        "The broker reports that an order has executed or works which ended here without a fill,"
        " and which is in the archive.",
        "Read the order with `manage.py read_archive orders`, and compare the account: what it"
        " opened appears as a difference of its own, for you to adopt or close. Then leave this"
        " one, with a reason.",
    )
    REPORT_PROCESSING_FAILED = (
        "REPORT_PROCESSING_FAILED",
        "A broker's report could not be stored.",
        "Find its reference in the workers' log and report both to the developers; then leave it,"
        " with a reason.",
    )
    EXIT_OVERFILLED = (
        "EXIT_OVERFILLED",
        "The broker reports that an exit closed more than was open here.",
        "Compare the account: what is left at the broker appears as its own difference, for you to"
        " close or adopt. Then leave this one, with a reason.",
    )
    TOO_MANY_OPEN_ORDERS = (
        "TOO_MANY_OPEN_ORDERS",
        "More orders are open at the exchange than can be read.",
        "Cancel there what you no longer need; the account is read again automatically.",
    )
    LOOKUP_WINDOW_EXCEEDED = (
        "LOOKUP_WINDOW_EXCEEDED",
        "An order without an answer is older than the broker can look back: its absence proves"
        " nothing.",
        "Look it up in the broker's own statements, then end it by hand.",
    )
    UNKNOWN_POSITION = (
        "UNKNOWN_POSITION",
        "The broker holds a position that we do not know.",
        "Ask its owner. Adopt it, link it to one of ours, or have it closed at the broker.",
    )
    POSITION_MISSING = (
        "POSITION_MISSING",
        "We hold a position that the broker does not have.",
        "It is closed here automatically if a second valid read does not have it either; or close"
        " ours now.",
    )
    POSITION_NOT_TRADABLE = (
        "POSITION_NOT_TRADABLE",
        "The account still holds the position, and its symbol has left the broker's list: it cannot"
        " be closed there.",
        "It stays open here. Convert or withdraw it at the broker, as it has announced; what is"
        " gone from the account is then closed here. If the symbol is listed again, it is traded"
        " as before.",
    )
    QUANTITY_DIFFERS = (
        "QUANTITY_DIFFERS",
        "The broker holds another quantity than we do.",
        "Check the broker's statement. Adopt: the broker's quantity counts. Close: what it holds"
        " beyond ours is closed there.",
    )
    LEVELS_DIFFER = (
        "LEVELS_DIFFER",
        "The stop or target at the broker differs from ours.",
        "Find out who moved it. Adopt: the broker's levels count. Put ours back: our levels are"
        " sent to the broker again.",
    )
    PRICE_DIFFERS = (
        "PRICE_DIFFERS",
        "The broker reports another entry price than our fills.",
        "No order is sent because of it. Adopt: profits are calculated from the broker's price.",
    )
    ORDER_MISSING = (
        "ORDER_MISSING",
        "The broker does not know an order of ours that should be working there.",
        "Look it up in the broker's own statements; closing it ends it here.",
    )
    ORDER_STILL_WORKING = (
        "ORDER_STILL_WORKING",
        "An order that has ended here is still working at the broker.",
        "Close it: the broker is asked to cancel it.",
    )
    FOREIGN_ORDER = (
        "FOREIGN_ORDER",
        "An order that we did not send is working on the account. It is never touched.",
    )
    DRIFT_ACTION_NOT_APPLICABLE = (
        "DRIFT_ACTION_NOT_APPLICABLE",
        "This difference cannot be resolved that way.",
        "Take one of the actions that its page or `actions` offers.",
    )
    DRIFT_TARGET_NOT_APPLICABLE = (
        "DRIFT_TARGET_NOT_APPLICABLE",
        "The order or position does not match what the broker holds.",
        "It must be of the same connection, symbol and side, and not be linked otherwise.",
    )

    # ---- log lines that are no refusal --------------------------------------------------------
    CREATED = ("CREATED", "The order was created for a published signal.")
    INTENT = ("INTENT", "The order is sized and checked and is about to be sent.")
    ACCEPTED = ("ACCEPTED", "The broker has accepted the order.")
    FILL = ("FILL", "Executed at the broker.")
    SLIPPAGE_ALERT = (
        "SLIPPAGE_ALERT",
        "Filled further from the expected price than the alert limit, or beyond the worst price.",
    )
    STOP_UNCONFIRMED = (
        "STOP_UNCONFIRMED",
        "The broker has not confirmed the stop. We monitor its price meanwhile.",
        "The broker is asked again every few seconds; check the account's connection.",
    )
    STOP_DROPPED = (
        "STOP_DROPPED",
        "The broker reports that it holds no stop for the position. It is placed again once;"
        " we monitor its price.",
        "Check the position at the broker. If it keeps no stop, place one there by hand, or decide"
        " the difference in the console: put ours back, or take the broker's.",
    )
    POSITION_RELINKED = (
        "POSITION_RELINKED",
        "The broker has given the position another number. It carries our id, so it is the same.",
        "Nothing is to be done. Brokers number positions again when they move accounts to another"
        " server.",
    )
    STOP_COVERS_PART = (
        "STOP_COVERS_PART",
        "The broker's stop covers only a part of the position.",
        "The broker is asked to enlarge it.",
    )
    STOP_NOT_EXECUTED = (
        "STOP_NOT_EXECUTED",
        "The price is beyond the stop that the broker holds, and the broker cannot be asked.",
        "Check the account at the broker; close by hand what is still open.",
    )
    STOP_NOT_MONITORED = (
        "STOP_NOT_MONITORED",
        "We guard this stop, but its price is not monitored now.",
        "Check the prices process and the price source.",
    )
    LEVEL_HIT = ("LEVEL_HIT", "The price reached the position's level.")
    FLATTENED = ("FLATTENED", "A kill switch closes the position.")
    LEVELS_MOVED = ("LEVELS_MOVED", "The stop or target was moved.")
    STOP_TO_BREAK_EVEN = (
        "STOP_TO_BREAK_EVEN",
        "The position's break-even rule moved its stop to the entry price.",
    )
    STOP_TRAILED = ("STOP_TRAILED", "The position's trailing rule moved its stop.")
    TRAILING_SET = ("TRAILING_SET", "The owner set how the stop trails.")
    TRAILING_ENDED = ("TRAILING_ENDED", "The owner ended the trailing of the stop.")
    CANCEL_REQUESTED = ("CANCEL_REQUESTED", "The broker was asked to cancel.")
    CHANGE_REPLACED = (
        "CHANGE_REPLACED",
        "A change that waited was replaced by a newer signal.",
    )
    CHANGE_REQUESTED = ("CHANGE_REQUESTED", "A change of the order was requested.")
    ORDER_CHANGED = (
        "ORDER_CHANGED",
        "The order's price, quantity, stop loss or target was changed.",
    )
    CHANGE_REFUSED = (
        "CHANGE_REFUSED",
        "The broker refused the change; the order works as before.",
        "Read the broker's text, and try other values.",
    )
    CHANGE_TOO_OLD = (
        "CHANGE_TOO_OLD",
        "The change could not be sent within a minute; the order works as before.",
        "Check the price, and change the order again.",
    )
    CHANGE_UNANSWERED = (
        "CHANGE_UNANSWERED",
        "The broker has not answered a change of the order; it is read at the broker.",
        "You need not do anything: what the broker shows is taken over.",
    )
    CHANGE_UNKNOWN_TOO_LONG = (
        "CHANGE_UNKNOWN_TOO_LONG",
        "It has been unknown for minutes whether the broker has made a change of the order.",
        "Look at the order at the broker, and test the account's connection. The order may be"
        " filled at the old or the new values, and it is read until that is known.",
    )
    CHANGE_OVERTAKEN = (
        "CHANGE_OVERTAKEN",
        "The broker has made an earlier change that was given up, after a later one.",
        "Check the order's values, and change it again if they are not what you want.",
    )
    CHANGE_NOT_KEPT = (
        "CHANGE_NOT_KEPT",
        "The broker did not take over the change; the order works as before.",
        "Check the order at the broker, then try again.",
    )
    DRIFT_DECIDED = ("DRIFT_DECIDED", "A user decided a difference from the broker.")
    DRIFT_CORRECTED = (
        "DRIFT_CORRECTED",
        "A difference from the broker was corrected automatically, as the connection allows.",
    )
    LATE_FILL = ("LATE_FILL", "A fill arrived after the order had ended; the fill counts.")
    INFERRED_REPLACED = (
        "INFERRED_REPLACED",
        "The broker's own executions replaced fills that had been inferred from a total.",
    )
    SHARE_MOVED = (
        "SHARE_MOVED",
        "The order that this entry was sent as with others ended filled in part, and one of them"
        " had less than can be closed on its own: a part of the executions has moved to it.",
    )
    FILL_CORRECTED = ("FILL_CORRECTED", "The broker corrected an execution that it had reported.")
    COMMISSION_REPORTED = (
        "COMMISSION_REPORTED",
        "The broker stated an execution's commission after the execution, or corrected it.",
    )
    COMMISSION_ENTERED = ("COMMISSION_ENTERED", "A person entered an execution's commission.")
    ABSENCE_CONFIRMED = ("ABSENCE_CONFIRMED", "The broker was asked and does not have it.")


_NEW_ATTEMPT = "once, under the next attempt digit, after validity, limits and kill switch"
_UNREACHABLE = (
    "an entry after half a second, then at growing intervals (up to 4 to 6 s for a market order,"
    " 10 to 15 s for any other) until the signal is too old or no longer valid; an exit until its"
    " position is closed. These tries are not counted"
)
_NEVER_LEFT = "up to five times, at growing intervals, while the signal is valid"
_DEFERRED = (
    "after a second, and then, unless it is a market order, at growing intervals of up to ten"
    " seconds, until the signal is too old or no longer valid. These tries are not counted"
)
RETRIES: dict[Code, str] = {
    Code.REQUOTE: _NEW_ATTEMPT,
    Code.PRICE_INVALID: _NEW_ATTEMPT,
    Code.NOT_CONNECTED: _UNREACHABLE,
    Code.BROKER_UNREACHABLE: _UNREACHABLE,
    Code.CLIENT_ID_IN_USE: _UNREACHABLE,
    Code.REOPENING_AWAITED: "at growing intervals, until its position is open again or closed for"
    " good",
    Code.TRADING_DISABLED: f"only if nothing was sent: {_UNREACHABLE}",
    Code.SEND_DEADLINE: _DEFERRED,
    Code.RATE_LIMITED: _DEFERRED,
    Code.BROKER_CLOCK: _NEVER_LEFT,
    Code.KILL_SWITCH: "when it is released; an entry that is evaluated before that is denied",
    Code.SESSION_MOVED: _DEFERRED,
    Code.WORKER_LOST_UNSENT: "an entry until three tries have failed, for this reason or others,"
    " at growing intervals, while the signal is valid; an exit until its position is closed",
    Code.MARKET_CLOSED: f"only if nothing was sent because no price had come yet: {_DEFERRED}",
    Code.RESEND: "an exit whose absence is confirmed twice, under the same id",
    Code.OPERATOR_RETRY: "once, under the next attempt digit",
}
"""How each of these is tried again automatically. Every other refusal is final: it cannot change.

Each text follows "tried again: " and ends without a full stop.
"""
