"""Orders and what became of them. An order row is the job; nothing else has to remember it."""

from execution.models.drift import Decision, DriftItem
from execution.models.orders import Fill, Order, OrderQuerySet
from execution.models.progress import (
    AccountReading,
    BrokerListing,
    LevelScanHeartbeat,
    OutcomeCheck,
    SourceWatch,
    StreamLease,
    WorkerLease,
)
from execution.models.records import AuditRun, ExecutionLog, Tally, TallyQuerySet
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
    "AccountReading",
    "AuditRun",
    "BrokerListing",
    "Decision",
    "DriftItem",
    "ExecutionLog",
    "Fill",
    "LevelScanHeartbeat",
    "Order",
    "OrderQuerySet",
    "OutcomeCheck",
    "PendingAction",
    "SourceWatch",
    "Status",
    "StreamLease",
    "Tally",
    "TallyQuerySet",
    "WorkerLease",
]
