"""The document of operational settings: each group and key with its type, limits and sentence.

To add a setting: a field here and its reader in the product. It has no effect on a stored version
that does not name it: the default holds. docs/operational-settings.md is generated from this.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from common.operational.kinds import (
    MESSAGE_TEXTS,
    NETWORK,
    OWNED_NETWORK,
    QUOTA_NUMBERS,
    SWITCH,
    IPNetwork,
    Kind,
    MessageText,
    OwnedNetwork,
    days,
    list_of,
    number,
    one_of,
    optional,
    text,
    whole,
)
from common.reason_codes import Code

ORDER_TYPES = ("MARKET", "LIMIT", "STOP", "STOP_LIMIT", "IF_TOUCHED", "TRAILING_STOP")
SAME_FIELDS = ("signal_id", "symbol", "direction", "order_type", "price", "strategy_id",
               "trade_plan_id")  # fmt: skip
LIMITED = frozenset({"LIMIT", "STOP_LIMIT"})
TRIGGERED = frozenset({"STOP", "STOP_LIMIT", "TRAILING_STOP", "IF_TOUCHED"})
RATES = ("read", "trade", "publish", "operate", "prices", "anonymous")
_RATE = whole(1, 1_000_000)
_ADDRESS = r"https?://[!-~]{1,400}"
_EMAIL = text("an e-mail address", r"[^@\s]{1,100}@[^@\s]{1,150}")


def value(kind: Kind, default: Any, sentence: str) -> Any:
    """Declare a setting: what it may be, its default, and what it does."""
    return field(default=default, metadata={"kind": kind, "sentence": sentence})


def group(of: type, title: str) -> Any:
    """Declare a group of settings. title: above its fields on the page."""
    return field(default_factory=of, metadata={"group": of, "title": title})


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderDefaults:
    """What an entry is if its signal does not state it, and which types may be sent at all."""

    default_order_type: str = value(
        one_of(*ORDER_TYPES),
        "MARKET",
        "Type of an entry whose signal names none. The prices that this type needs must be there.",
    )
    enable_limit_orders: bool = value(
        SWITCH, True, "Whether limit and stop-limit entries are accepted and sent."
    )
    enable_stop_orders: bool = value(
        SWITCH,
        True,
        "Whether stop, stop-limit, trailing-stop and if-touched entries are accepted and sent. Stop"
        " losses are exits: they always are.",
    )
    max_slippage_pips: Decimal | None = value(
        optional(number("0", "100000")),
        None,
        "Limit of the slippage of an entry whose signal states none, in pips; for currency pairs"
        " and metals. A preset or subscription may set a tighter one.",
    )

    def refusal_of(self, order_type: str) -> Code | None:
        """Return why entries of this type are not sent; None: they are."""
        if order_type in LIMITED and not self.enable_limit_orders:
            return Code.LIMIT_ORDERS_OFF
        if order_type in TRIGGERED and not self.enable_stop_orders:
            return Code.STOP_ORDERS_OFF
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """Which repetitions are recognised beyond what the database always refuses."""

    enabled: bool = value(
        SWITCH,
        True,
        "Whether answers of requests with an Idempotency-Key are kept, and signals compared by"
        " dedupe_by. The database's unique constraints stay in any case: no signal is executed"
        " twice on an account.",
    )
    check_window_hours: int = value(
        whole(1, 720), 24, "For how long a request or a signal is compared with earlier ones."
    )
    dedupe_by: tuple[str, ...] = value(
        list_of(one_of(*SAME_FIELDS)),
        ("signal_id",),
        "What makes two entries of a feed the same one, if all of it is stated and equal; the later"
        " is refused. What an entry does not state (a plan, the price of a market entry) equals"
        " nothing. signal_id is its own id, which the database compares without any window: beside"
        " other fields it must be equal too, so that two ids are two entries.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FillTracking:
    """How fills are followed and judged."""

    track_partial_fills: bool = value(
        SWITCH,
        True,
        "Whether a part of an order that was filled is notified at once. If not, with the rest; it"
        " is booked in any case.",
    )
    update_interval_seconds: Decimal = value(
        number("0.2", "3600"),
        Decimal(1),
        "How often working orders are polled at brokers that send no events.",
    )
    slippage_alert_threshold_pips: Decimal = value(
        number("0", "100000"),
        Decimal(5),
        "A fill of a currency pair or metal that is further from the expected price, worse or"
        " better, raises an alert. For accounts without a preset.",
    )
    slippage_alert_threshold_basis_points: Decimal = value(
        number("0", "100000"),
        Decimal(10),
        "The same for everything without pips (coins, shares, indices), in basis points of the"
        " expected price: 10 is 0.1 %.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionReconciliation:
    """How our records are compared with the brokers'."""

    enabled: bool = value(
        SWITCH,
        True,
        "Whether accounts are compared at intervals. After each (re)connect, and on request, they"
        " are in any case: no entry is sent before.",
    )
    reconcile_interval_minutes: int = value(
        whole(1, 25),
        5,
        "Minutes between two comparisons of an account. A change sets their schedule; what an"
        " operator sets on the page of schedules holds until the next change.",
    )
    auto_correct_discrepancies: bool = value(
        SWITCH,
        False,
        "Whether differences that two reads have confirmed are corrected on every account; if not,"
        " on those whose owner allows it.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """Time-outs, thresholds and sizes of the order engine."""

    poll_seconds: int = value(
        whole(1, 5), 2, "How often each worker queries for due orders, with or without a message."
    )
    bundle_size: int = value(whole(1, 5000), 500, "Most orders in one message and one transaction.")
    dispatch_slots: int = value(whole(1, 10000), 600, "Most broker calls in flight in one process.")
    send_deadline_seconds: int = value(
        whole(1, 9),
        5,
        "Send deadline: an order that has not left so long after its claim is not sent.",
    )
    call_timeout_seconds: int = value(
        whole(1, 60), 5, "How long a broker may take to answer before the order becomes UNKNOWN."
    )
    market_entry_max_age_seconds: int = value(
        whole(1, 86400),
        60,
        "Maximum age of a signal (market clock) when its market entry is sent; a preset may allow"
        " less.",
    )
    absence_gap_seconds: int = value(
        whole(4, 3600),
        60,
        "Time between the two look-ups that confirm that an order never arrived.",
    )
    lookup_max_interval_seconds: int = value(
        whole(2, 600),
        20,
        "Longest pause between two look-ups of an UNKNOWN order; the first pause is 2 s.",
    )
    unknown_alert_seconds: int = value(
        whole(10, 86400), 300, "An order that is UNKNOWN for longer raises an alert."
    )
    stuck_seconds: int = value(
        whole(1, 86400),
        30,
        "A market, IOC or FOK order that the broker has not ended by then is looked up.",
    )
    stuck_answer_seconds: int = value(
        whole(1, 3600),
        10,
        "How long that look-up may take before the order is cancelled or raises an alert, as its"
        " preset states.",
    )
    session_lanes: int = value(
        whole(1, 256),
        8,
        "Lanes over which new connections with a broker session are spread; so many session workers"
        " can share them.",
    )
    session_idle_seconds: int = value(
        whole(60, 31_536_000),
        3600,
        "A broker session without orders and positions for so long is closed; it is opened every"
        " ten minutes to read and compare the account.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRates:
    """Requests a minute."""

    read: int = value(_RATE, 1200, "Requests that only read, of one user over all keys.")
    trade: int = value(_RATE, 600, "Requests about orders, positions and drift items, of one user.")
    publish: int = value(_RATE, 600, "Requests about signals and feeds, of one user.")
    operate: int = value(
        _RATE,
        300,
        "Requests about accounts, subscriptions, presets, halts, notifications and keys, of one"
        " user.",
    )
    prices: int = value(_RATE, 1200, "Requests that push quotes to price sources, of one user.")
    anonymous: int = value(
        _RATE, 60, "Requests from one address without a user, or with wrong keys and tokens."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """Who may sign up, and how much one owner may have."""

    sign_up: str = value(
        one_of("off", "invitation", "open"),
        "invitation",
        "Who may create a login without an administrator: no one, the holder of an invitation's"
        " link, or everybody with an e-mail address.",
    )
    staff_second_factor: bool | None = value(
        optional(SWITCH),
        None,
        "Whether staff must have a second factor. If null: in production, not in development.",
    )
    quotas: Mapping[str, int] = field(
        default_factory=dict,
        metadata={
            "kind": QUOTA_NUMBERS,
            "sentence": "How many rows of a kind one owner may have, where it is not the number"
            " that docs/api.md states.",
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """Addresses that are not public, and what may be reached there."""

    broker_networks: tuple[IPNetwork, ...] = value(
        list_of(NETWORK),
        (),
        "Private and loopback networks where users may connect accounts; public addresses are"
        " always allowed.",
    )
    gateway_owners: tuple[OwnedNetwork, ...] = value(
        list_of(OWNED_NETWORK),
        (),
        "Gateways of one user each: other users cannot connect accounts there.",
    )
    outbound_networks: tuple[IPNetwork, ...] = value(
        list_of(NETWORK),
        (),
        "Private networks that notifications and webhooks may be sent to; public addresses are"
        " always allowed.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """When brokers are known to be away."""

    broker_windows: bool = value(
        SWITCH,
        True,
        "Whether to respect the maintenance windows that brokers publish. If not, only your own"
        " count (console: Maintenance).",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long old rows stay in the database before they are archived."""

    log_days: int | None = value(days(7), 90, "Lines of the execution log.")
    event_days: int | None = value(
        days(7), 90, "Events that were routed and have no delivery left."
    )
    delivery_days: int | None = value(
        days(7), 90, "Deliveries to channels that are sent or have failed."
    )
    webhook_days: int | None = value(
        days(7), 30, "Messages to webhooks and browsers, with their tries."
    )
    audit_run_days: int | None = value(
        days(7), 180, "Results of the hourly audit; the last one always stays."
    )
    order_days: int | None = value(
        days(400),
        None,
        "Entries that ended without a fill. Exchanges list what they executed for up to two years:"
        " 800 is more than any of them.",
    )
    archive_folder: str | None = value(
        optional(text("an absolute path of a folder", r"(/|[A-Za-z]:[\\/])[^\r\n\0]{1,400}")),
        None,
        "Folder of the Parquet files that old rows are moved to, on a disk that is backed up, where"
        " the worker of the queue maintenance runs. If null: archive/ in FILLCAST_VAR in"
        " development, and in production if a volume is mounted there; otherwise none.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """Logs, and the addresses that messages state."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = value(
        one_of("DEBUG", "INFO", "WARNING", "ERROR"), "INFO", "Least severe level that is logged."
    )
    push_contact: str | None = value(
        optional(_EMAIL),
        None,
        "E-mail address at which push services of browsers reach you; they receive it with each"
        " message. If null: the sender of e-mail.",
    )
    texts: Mapping[str, MessageText] = field(
        default_factory=dict,
        metadata={
            "kind": MESSAGE_TEXTS,
            "sentence": "Texts of messages by event kind, in place of the built-in ones; the"
            " console has a page for them. docs/notifications.md lists the placeholders.",
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchdog:
    """A service outside of this installation that raises an alarm if no ping comes."""

    ping_url: str | None = value(
        optional(text("an address that begins with https:// or http://", _ADDRESS)),
        None,
        "Address that is requested every minute while beat, dispatcher, workers, the scan of levels"
        " and the database work; if one does not, no ping is sent. Services such as"
        " healthchecks.io then raise the alarm. Addresses of private networks must lie in"
        " networks.outbound_networks.",
    )
    success_suffix: str = value(
        text("text without spaces", r"[!-~]{0,100}"), "", "Added to the address of such a ping."
    )
    fail_suffix: str | None = value(
        optional(text("text without spaces", r"[!-~]{0,100}")),
        None,
        "If something vital does not work, this address is requested at once, such as /fail. If"
        " null: silence alone is the alarm.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Observe:
    """Services outside of this installation that receive errors and traces."""

    sentry_dsn: str | None = value(
        optional(text("the DSN of a Sentry project", _ADDRESS)),
        None,
        "Where errors are reported: type, reason code and place in the code, and the text of the"
        " log line, which is a template; no error's message. Needs the extra observe in each"
        " process. If null: nowhere.",
    )
    otlp_url: str | None = value(
        optional(text("an address that begins with https:// or http://", _ADDRESS)),
        None,
        "Collector of OpenTelemetry, such as http://collector:4318/v1/traces, that receives the"
        " path of each signal: alert, publish, claim, send, report. Needs the extra observe in each"
        " process. If null: nothing is measured.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """All operational settings of an installation."""

    order_defaults: OrderDefaults = group(OrderDefaults, "Orders")
    idempotency: Idempotency = group(Idempotency, "Repetitions")
    fill_tracking: FillTracking = group(FillTracking, "Fills")
    position_reconciliation: PositionReconciliation = group(PositionReconciliation, "Comparison")
    execution: Execution = group(Execution, "Order engine")
    api_rates: ApiRates = group(ApiRates, "Requests a minute")
    users: Users = group(Users, "Users")
    networks: Networks = group(Networks, "Networks")
    maintenance: Maintenance = group(Maintenance, "Maintenance windows")
    retention: Retention = group(Retention, "Retention")
    messages: Messages = group(Messages, "Logs and messages")
    watchdog: Watchdog = group(Watchdog, "Outside watchdog")
    observe: Observe = group(Observe, "Errors and traces")


FIRST = ("order_defaults.enable_limit_orders", "order_defaults.enable_stop_orders",
         "order_defaults.max_slippage_pips")  # fmt: skip
"""The three settings that the page shows first."""
