"""Lines of the log, messages and close reasons of the specification, and where each lives."""

from ops.specification.table import Section, row

TEXT_TERMS = (
    Section(
        "Lines in the log, messages",
        "",
        (
            row(
                "order placement initiated, filled, failed",
                "lines with `order_id`, symbol, side, quantity, price, `trade_plan_id`, "
                "`risk_check_passed`",
                "execution/base/order_lines.py INITIATED",
            ),
            row(
                "notifications",
                "an outbox in the transaction of the change; mail, chat, browser, signed webhook",
                "events/services.py emit",
                "events/messages/orders.py",
            ),
            row(
                "the three messages: order placed, filled, failed",
                "texts that an installation may change; the built-in ones are sent otherwise",
                "events/messages/templates.py own_text",
                "console/pages/message_pages.py",
            ),
            row(
                "successes for administrators",
                "`signal.executed`: counted, one message per signal, for channels that ask for it",
                "execution/signal_outcomes.py report_outcomes",
                "events/signal_messages.py executed",
            ),
        ),
    ),
    Section(
        "Why a position closed",
        "One table; a close that no order of ours made has the reason that its broker states.",
        (
            row(
                "`sl`, `trailing`, `break_even`",
                "the stop, and which rule moved it last",
                "positions/close_reasons.py CloseReason",
                "execution/reports/close_reasons.py close_reason_sql",
            ),
            row(
                "`tp`, `target_n`",
                "the target by its number; `tp` where it was not stored",
                "positions/close_reasons.py TARGETS",
            ),
            row(
                "`time_exit`, `condition_exit`",
                "its closing time; the state of another signal",
                "positions/time_exits.py",
                "positions/condition_exits.py",
            ),
            row(
                "`signal`, `reverse`",
                "a CLOSE of its provider, which may be a part of a reversal",
                "positions/close_reasons.py REVERSE",
            ),
            row(
                "`owner`, `operator`, `manual`",
                "the person who asked for it; `manual`: an entry that filled while it was being "
                "cancelled",
                "execution/exits/legs.py closers",
            ),
            row(
                "`kill_switch`, `loss_limit`",
                "a halt or a limit that also closes",
                "execution/monitoring/halt_actions.py",
                "execution/monitoring/loss_limits.py",
            ),
            row(
                "`external_close`",
                "its owner, at the broker",
                "brokers/types.py EXTERNAL",
            ),
            row(
                "`expiry`",
                "its broker: the contract expired or was settled (Binance, Bybit, OKX state it)",
                "brokers/types.py EXPIRY",
                "brokers/crypto/parse.py cause_of",
            ),
            row(
                "`stop_out`",
                "its broker, for lack of margin: MetaTrader's stop-out, IBKR's liquidation, the "
                "exchanges' liquidations",
                "brokers/types.py STOP_OUT",
                "brokers/mt5/parse.py CAUSES",
                "brokers/ibkr/foreign_activity.py",
            ),
            row(
                "`dust`",
                "the rest is too small to sell",
                "execution/exits/dust.py",
            ),
        ),
    ),
)
