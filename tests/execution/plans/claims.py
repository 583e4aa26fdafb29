"""What a claim and an alert read of an account or a signal that has traded for years."""

from datetime import UTC, datetime, timedelta
from typing import Any

from common.db.sql import array, columns
from execution.exits import partial_closes
from execution.models import Order
from execution.submission import claim_sql, recent, signal_limits
from signals import open_signals, symbol_completion
from tests.execution.plans.cases import Case
from tests.execution.plans.rules import KEYS, Rule, by_index

CLAIM = "a claim reads the open orders and positions of its accounts only"
EXPOSURE = by_index(
    "order_partly_known", "order_with_broker", "order_waiting", "position_open", text=CLAIM, least=0
)
OF_SIGNAL = Rule(
    "entries of a signal are found by it", by=frozenset({"one_entry"}),
    required=frozenset({"one_entry"}), by_keys=False,
)  # fmt: skip
REMEMBERED = frozenset({"order_close_fraction"})
OPEN_ORDERS = frozenset({
    "order_with_broker", "order_pending", "order_route_failed", "order_partly_known",
})  # fmt: skip


def of_account(order: Order) -> dict[str, Any]:
    account = array([str(order.connection_id)])
    return {"connections": account, "unanswered": 1, "pairs": ["EUR/USD"], "netting": account}


def sent_since(order: Order) -> list[str]:
    yesterday = datetime.now(UTC) - timedelta(hours=20)
    asked = (1, order.connection_id, "EUR/USD", "BUY", 1, yesterday, True, True, True, 60.0)
    return columns([asked], len(asked))


def feed_of(order: Order) -> int:
    assert order.signal
    return order.signal.feed_id


CLAIMS = (
    Case(claim_sql, "EXPOSURE", of_account, EXPOSURE),
    Case(claim_sql, "OPEN_SIDES", of_account, EXPOSURE),
    Case(signal_limits, "SENT", lambda one: (array([one.signal_id]),), OF_SIGNAL),
    Case(
        partial_closes, "LOCK_DUE", None,
        Rule(
            "does not read ended orders that remember nothing", by=REMEMBERED, by_keys=False,
            count=1,
        ),
    ),
    Case(
        partial_closes, "DUE_PARTS", ([1],),
        by_index("order_close_fraction", "position_open", "position_open_by_signal", least=0),
    ),
    Case(
        partial_closes, "REMEMBER",
        lambda one: {"fraction": "0.5", "signal_id": 1, "refers_to": one.signal_id, "detail": ""},
        OF_SIGNAL,
    ),
    Case(
        open_signals, "open_signals_sql",
        lambda one: {"feed": feed_of(one), "pair": "EUR/USD", "sides": "{BUY,SELL}"},
        Rule(
            "finds the open signals of a feed from live rows, whatever it has traded before",
            by=OPEN_ORDERS | {"position_open", "position_open_by_signal"}, required=OPEN_ORDERS,
            by_keys=False,
        ),
    ),
    Case(
        symbol_completion, "RECENTLY_TRADED",
        lambda one: {"feed": feed_of(one), "base": "EUR/"},
        Rule(
            "searches the pair of a word among the newest trades of the feed", tables=(),
            by_any=True, required=frozenset({"signal_feed_published"}),
        ),
    ),
)  # fmt: skip
LOADS = Case(
    claim_sql, "LOAD", lambda one: (array([one.pk]),),
    Rule(
        "loads the orders, the other legs of pairs and the plans of slices by their keys",
        seeking=KEYS, by_keys=False, count=3,
    ),
)  # fmt: skip
SENT_BEFORE = Case(
    recent, "RECENT", lambda one: sent_since(one),
    Rule(
        "what an account has sent is found by its time, never among all its orders",
        by=frozenset({"order_partly_known", "order_waiting", "order_with_broker", "position_open"}),
        seeking=frozenset({"order_sent"}),
    ),
)  # fmt: skip
