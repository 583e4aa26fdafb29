"""The paper broker, wherever its books are: what it asks an owner for and what it can do."""

from datetime import timedelta
from functools import cache

from brokers.form import Form, Secret, Setting, SettingKind, WhileOpen
from brokers.messages import (
    Capabilities,
    ConnectionSpec,
    ExitSafety,
    OrderType,
    PositionMode,
    TimeInForce,
)

REPLY_TIMEOUT = 10.0  # seconds that a missing answer is waited for
FORM = Form(
    settings=(
        Setting(
            "position_mode",
            "Positions",
            "As the paper account was opened. Left open, the account says it itself.",
            SettingKind.CHOICE,
            choices=(
                ("HEDGING", "Hedging: one for each entry"),
                ("NETTING", "Netting: one for each symbol"),
            ),
            while_open=WhileOpen.STAYS,
        ),
        Setting(
            "native_stops",
            "The broker keeps stops and targets",
            "Off: the account was opened without, and we watch the levels.",
            SettingKind.SWITCH,
            default=True,
            while_open=WhileOpen.STAYS,
        ),
        Setting(
            "reply_timeout",
            "Wait for an answer … seconds",
            "After that an order counts as unknown and is looked up: from 0.01 to 60 seconds.",
            SettingKind.NUMBER,
            default=REPLY_TIMEOUT,
            least=0.01,
            most=60,
        ),
    ),
    secrets=(Secret("password", "Password", "Only if the paper account asks for one.", False),),
    label="Paper (nothing is real)",
    account="The number under which an operator has opened the paper account.",
)


def capabilities_of(spec: ConnectionSpec) -> Capabilities:
    """What an account can do, by what its connection's settings say of it."""
    return _capabilities(
        spec.settings.get("position_mode") or "", bool(spec.settings.get("native_stops", True))
    )


@cache  # asked for each order of a bundle
def _capabilities(mode: str, native_stops: bool) -> Capabilities:
    return Capabilities(
        order_types=frozenset(OrderType),
        times_in_force=frozenset(TimeInForce),
        native_stops=native_stops,
        modify=True,
        position_modes=frozenset([PositionMode(mode)] if mode else PositionMode),
        partial_close=True,
        event_stream=True,
        price_stream=False,
        lookup_horizon=timedelta(days=3650),
        refuses_repeated_ids=False,
        exit_safety=ExitSafety.TICKET,
        session=False,
        needs_credentials=False,
        submit_many=True,
        fills_horizon=timedelta(days=3650),
        quotes=True,
        own_prices=False,
        what_if=True,
    )
