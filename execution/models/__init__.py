"""Orders, their fills, and what the engine stores about its own work."""

from execution.models.archived import ArchivedOrder
from execution.models.changes import OPEN_CHANGE, OPEN_CHANGE_STATES, ChangeState, EntryChange
from execution.models.decisions import EntryDecision
from execution.models.drift import Decision, DriftItem
from execution.models.orders import (
    MAY_MOVE,
    Fill,
    Order,
    OrderQuerySet,
    VoidedFill,
    may_move_sql,
)
from execution.models.progress import (
    AccountSyncState,
    BrokerListing,
    LevelMonitorHeartbeat,
    LevelScanHeartbeat,
    OutcomeCheck,
    StreamLease,
    WatchdogPing,
    WorkerLease,
)
from execution.models.records import (
    AuditRun,
    DroppedMessageCount,
    DroppedMessageCountQuerySet,
    ExecutionLog,
)
from execution.models.scoped_actions import ScopedAction
from execution.models.slices import SlicePlan
from execution.models.status import (
    ALL_PENDING,
    AT_BROKER,
    BY_HAND_PRIORITY,
    CANCELS,
    FEED_PRIORITY,
    HELD,
    IN_FLIGHT,
    LIVE,
    NOT_ENDED,
    PARTLY_KNOWN,
    TERMINAL,
    UNSENT,
    PendingAction,
    RouteState,
    Status,
)
from execution.models.triggers import OrderTrigger, PricePeak, TriggerKind, trigger_of

__all__ = [
    "ALL_PENDING",
    "AT_BROKER",
    "BY_HAND_PRIORITY",
    "CANCELS",
    "FEED_PRIORITY",
    "HELD",
    "IN_FLIGHT",
    "LIVE",
    "MAY_MOVE",
    "NOT_ENDED",
    "OPEN_CHANGE",
    "OPEN_CHANGE_STATES",
    "PARTLY_KNOWN",
    "TERMINAL",
    "UNSENT",
    "AccountSyncState",
    "ArchivedOrder",
    "AuditRun",
    "BrokerListing",
    "ChangeState",
    "Decision",
    "DriftItem",
    "DroppedMessageCount",
    "DroppedMessageCountQuerySet",
    "EntryChange",
    "EntryDecision",
    "ExecutionLog",
    "Fill",
    "LevelMonitorHeartbeat",
    "LevelScanHeartbeat",
    "Order",
    "OrderQuerySet",
    "OrderTrigger",
    "OutcomeCheck",
    "PendingAction",
    "PricePeak",
    "RouteState",
    "ScopedAction",
    "SlicePlan",
    "Status",
    "StreamLease",
    "TriggerKind",
    "VoidedFill",
    "WatchdogPing",
    "WorkerLease",
    "may_move_sql",
    "trigger_of",
]
