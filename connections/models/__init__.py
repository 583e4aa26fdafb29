"""Broker accounts, their health, and what their owners decide about them."""

from connections.models.accounts import (
    MAX_AGGREGATION_MS,
    ConnectionQuerySet,
    ExecutionConnection,
)
from connections.models.decisions import (
    DecisionProvider,
    FailRule,
    Impact,
    NewsCalendar,
    NewsEvent,
    ProviderKind,
)
from connections.models.epochs import Epoch
from connections.models.health import (
    AccountSnapshot,
    ConnectionHealth,
    ConnectionLock,
    HealthStatus,
    HostCircuit,
)
from connections.models.history import AccountHistory, CashFlow, CashFlowRead, FundingPayment
from connections.models.instruments import Instrument, InstrumentBook
from connections.models.kill_switch import HaltMode, KillSwitch
from connections.models.lanes import LaneAssignment, LaneLease
from connections.models.loss_limits import (
    LossAction,
    LossBasis,
    LossLimit,
    LossMeasure,
    LossUnit,
    LossWindow,
    ResumeRule,
    TradingPause,
)
from connections.models.maintenance import MaintenanceWindow
from connections.models.presets import (
    SIZE_FIELDS,
    SizingMode,
    StuckPolicy,
    TradingPreset,
)
from connections.models.routes import SubscriptionRoute
from connections.models.sources import DataConnection, SourceHealth
from connections.models.subscriptions import (
    Directions,
    PriorityClass,
    RoutePolicy,
    Subscription,
    SubscriptionInterval,
)
from connections.models.twins import SubscriptionTwin, TwinEnd

__all__ = [
    "MAX_AGGREGATION_MS",
    "SIZE_FIELDS",
    "AccountHistory",
    "AccountSnapshot",
    "CashFlow",
    "CashFlowRead",
    "ConnectionHealth",
    "ConnectionLock",
    "ConnectionQuerySet",
    "DataConnection",
    "DecisionProvider",
    "Directions",
    "Epoch",
    "ExecutionConnection",
    "FailRule",
    "FundingPayment",
    "HaltMode",
    "HealthStatus",
    "HostCircuit",
    "Impact",
    "Instrument",
    "InstrumentBook",
    "KillSwitch",
    "LaneAssignment",
    "LaneLease",
    "LossAction",
    "LossBasis",
    "LossLimit",
    "LossMeasure",
    "LossUnit",
    "LossWindow",
    "MaintenanceWindow",
    "NewsCalendar",
    "NewsEvent",
    "PriorityClass",
    "ProviderKind",
    "ResumeRule",
    "RoutePolicy",
    "SizingMode",
    "SourceHealth",
    "StuckPolicy",
    "Subscription",
    "SubscriptionInterval",
    "SubscriptionRoute",
    "SubscriptionTwin",
    "TradingPause",
    "TradingPreset",
    "TwinEnd",
]
