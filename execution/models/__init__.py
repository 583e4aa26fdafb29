"""Orders, their fills, and what the engine stores about its own work."""

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
