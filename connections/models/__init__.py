"""Broker accounts, their health, and what their owners decide about them."""

from connections.models.accounts import ConnectionQuerySet, ExecutionConnection
from connections.models.health import (
    AccountSnapshot,
    ConnectionHealth,
    ConnectionLock,
    HealthStatus,
    HostCircuit,
)
from connections.models.instruments import Instrument, InstrumentBook
from connections.models.kill_switch import Epoch, HaltMode, KillSwitch
from connections.models.lanes import LaneAssignment, LaneLease
from connections.models.maintenance import MaintenanceWindow
from connections.models.presets import (
    DataConnection,
    SizingMode,
    StuckPolicy,
    TradingPreset,
)
from connections.models.sources import SourceHealth
from connections.models.subscriptions import (
    Directions,
    Subscription,
    SubscriptionInterval,
)

__all__ = [
    "AccountSnapshot",
    "ConnectionHealth",
    "ConnectionLock",
    "ConnectionQuerySet",
    "DataConnection",
    "Directions",
    "Epoch",
    "ExecutionConnection",
    "HaltMode",
    "HealthStatus",
    "HostCircuit",
    "Instrument",
    "InstrumentBook",
    "KillSwitch",
    "LaneAssignment",
    "LaneLease",
    "MaintenanceWindow",
    "SizingMode",
    "SourceHealth",
    "StuckPolicy",
    "Subscription",
    "SubscriptionInterval",
    "TradingPreset",
]
