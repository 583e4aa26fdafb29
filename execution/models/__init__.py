"""Orders and what became of them. An order row is the job; nothing else has to remember it."""

from execution.models.drift import Decision, DriftItem
from execution.models.orders import Fill, Order, OrderQuerySet
from execution.models.progress import (
    AccountSyncState,
    BrokerListing,
    LevelMonitorHeartbeat,
    LevelScanHeartbeat,
    OutcomeCheck,
    StreamLease,
    WorkerLease,
)
from execution.models.records import (
    AuditRun,
    DroppedMessageCount,
    DroppedMessageCountQuerySet,
    ExecutionLog,
)
from execution.models.status import (
    AT_BROKER,
    IN_FLIGHT,
    TERMINAL,
    UNSENT,
    WORKING,
    PendingAction,
    Status,
)

__all__ = [
    "AT_BROKER",
    "IN_FLIGHT",
    "TERMINAL",
    "UNSENT",
    "WORKING",
    "AccountSyncState",
    "AuditRun",
    "BrokerListing",
    "Decision",
    "DriftItem",
    "DroppedMessageCount",
    "DroppedMessageCountQuerySet",
    "ExecutionLog",
    "Fill",
    "LevelMonitorHeartbeat",
    "LevelScanHeartbeat",
    "Order",
    "OrderQuerySet",
    "OutcomeCheck",
    "PendingAction",
    "Status",
    "StreamLease",
    "WorkerLease",
]
