"""The names of the kinds of events for people. Pure."""

from events.models import EventKind

# kind → (singular, plural). A digest keeps this order: what needs attention comes first.
DIGEST_LABELS: dict[str, tuple[str, str]] = {
    EventKind.SCHEDULER_LATE: ("scheduler is late", "schedulers are late"),
    EventKind.CLOCK_SET_BACK: ("clock was set back", "clocks were set back"),
    EventKind.SETTINGS_REFUSED: ("settings refused", "settings refused"),
    EventKind.BUS_NOT_RECEIVED: ("bus that is not received", "buses that are not received"),
    EventKind.BUS_MESSAGE_REFUSED: (
        "message of a bus that was not carried out",
        "messages of buses that were not carried out",
    ),
    EventKind.BUS_LATE: ("bus is behind", "buses are behind"),
    EventKind.AUDIT_TRAIL_BROKEN: ("audit trail broken", "audit trails broken"),
    EventKind.AUDIT_FAILED: ("audit failed", "audits failed"),
    EventKind.AUDIT_NOT_JUDGED: (
        "audit could not judge accounts",
        "audits could not judge accounts",
    ),
    EventKind.POSITION_UNPROTECTED: ("position without its stop", "positions without their stops"),
    EventKind.EXIT_DELAYED: ("exit that cannot be sent", "exits that cannot be sent"),
    EventKind.ORDER_UNEXPECTEDLY_LIVE: ("order unexpectedly live", "orders unexpectedly live"),
    EventKind.ORDER_UNKNOWN_TOO_LONG: (
        "order unknown for too long",
        "orders unknown for too long",
    ),
    EventKind.ORDER_STUCK: ("order stuck at the broker", "orders stuck at the broker"),
    EventKind.HOST_DOWN: (
        "broker host that does not answer",
        "broker hosts that do not answer",
    ),
    EventKind.PRICES_LOST: ("price source without prices", "price sources without prices"),
    EventKind.PRICES_ON_FALLBACK: (
        "price source that uses its fallback",
        "price sources that use their fallback",
    ),
    EventKind.ORDER_UNKNOWN: ("order unknown", "orders unknown"),
    EventKind.ORDER_FAILED: ("order failed, never sent", "orders failed, never sent"),
    EventKind.ORDER_REJECTED: ("order rejected by the broker", "orders rejected by the broker"),
    EventKind.ORDER_DENIED: ("order denied by us", "orders denied by us"),
    EventKind.SIGNAL_INCOMPLETE: (
        "signal that did not reach all accounts",
        "signals that did not reach all accounts",
    ),
    EventKind.TELEGRAM_STOPPED: ("Telegram bot not read", "Telegram bots not read"),
    EventKind.ALERT_REFUSED: (
        "alert refused after it was received",
        "alerts refused after they were received",
    ),
    EventKind.FEED_APPROVAL_ASKED: (
        "feed that waits for your approval",
        "feeds that wait for your approval",
    ),
    EventKind.FEED_APPROVAL_DECIDED: ("answer to a feed's approval", "answers to feeds' approvals"),
    EventKind.ORDER_SKIPPED: ("order skipped", "orders skipped"),
    EventKind.CONNECTION_ERROR: ("connection in error", "connections in error"),
    EventKind.CONNECTION_INACTIVE: ("inactive connection", "inactive connections"),
    EventKind.DRIFT_FOUND: ("difference from a broker", "differences from brokers"),
    EventKind.PASSWORD_CHANGED: ("password changed", "passwords changed"),
    EventKind.API_KEY_NEW_NETWORK: (
        "API key used from a new network",
        "API keys used from new networks",
    ),
    EventKind.API_KEY_MADE: ("new API key", "new API keys"),
    EventKind.API_KEY_ENDED: ("API key has ended", "API keys have ended"),
    EventKind.API_KEY_ENDS_SOON: ("API key ends soon", "API keys end soon"),
    EventKind.CHANNEL_ENDED: ("channel has ended", "channels have ended"),
    EventKind.KILL_SWITCH: ("kill switch changed", "kill switches changed"),
    EventKind.LOSS_LIMIT_REACHED: ("loss limit reached", "loss limits reached"),
    EventKind.SLIPPAGE_ALERT: ("slippage alert", "slippage alerts"),
    EventKind.ORDER_PLACED: ("order accepted by the broker", "orders accepted by the broker"),
    EventKind.ORDER_FILLED: ("order filled", "orders filled"),
    EventKind.ORDER_PARTIALLY_FILLED: ("order partly filled", "orders partly filled"),
    EventKind.ORDER_CHANGED: ("order changed at its broker", "orders changed at their brokers"),
    EventKind.ORDER_EXPIRED: ("order expired", "orders expired"),
    EventKind.ORDER_CANCELLED: ("order cancelled", "orders cancelled"),
    EventKind.POSITION_OPENED: ("position opened", "positions opened"),
    EventKind.POSITION_CLOSED: ("position closed", "positions closed"),
    EventKind.POSITION_STOP_MOVED: ("stop moved by a rule", "stops moved by a rule"),
    EventKind.PRICES_BACK: ("price source with prices again", "price sources with prices again"),
    EventKind.PRICES_ON_PRIMARY: (
        "price source with its own prices again",
        "price sources with their own prices again",
    ),
    EventKind.HOST_UP: ("broker host answers again", "broker hosts answer again"),
    EventKind.TRADING_RESUMED: ("account that trades again", "accounts that trade again"),
    EventKind.CONNECTION_RECOVERED: ("connection works again", "connections work again"),
    EventKind.BUS_BACK: ("bus has caught up", "buses have caught up"),
    EventKind.BUS_RECEIVED: ("bus is received again", "buses are received again"),
    EventKind.SCHEDULER_BACK: ("scheduler works again", "schedulers work again"),
    EventKind.AUDIT_TRAIL_INTACT: ("audit trail intact again", "audit trails intact again"),
    EventKind.SIGNAL_EXECUTED: ("signal executed", "signals executed"),
    EventKind.SIGNAL_PUBLISHED: ("signal published", "signals published"),
    EventKind.CHANNEL_TEST: ("test message", "test messages"),
    EventKind.CHANNEL_CONFIRMATION: ("confirmation message", "confirmation messages"),
}


def kind_label(kind: str) -> str:
    """Return a kind's name as the beginning of a line: `Order filled`."""
    label = DIGEST_LABELS.get(kind, (kind, ""))[0]
    return label[:1].upper() + label[1:]
