"""The fields of a signal, one table for all entry points. Pure.

The reader, alerts, files, the API's serializer and the console's forms take their names from here,
so that no entry point lacks one. What an entry point cannot have is in `LEFT_OUT`, with the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from common.stop_rules import RULE_FIELDS
from signals.models import TRAIL_OPTIONS, Action
from signals.slicing import STYLE_FIELDS

OPEN = frozenset({Action.OPEN})
LEVELS = frozenset({Action.OPEN, Action.MODIFY})
FOLLOW_UP = frozenset({Action.MODIFY, Action.CLOSE})
ANY = frozenset(Action)
AFTER = ("after_signal", "after_signal_external_id", "after_state")
CONDITION_NAMES = ("not_before", *AFTER)
EXIT_CONDITION_NAMES = (
    "close_when_signal", "close_when_signal_external_id", "close_when_state",
)  # fmt: skip


class EntryPoint(StrEnum):
    """How a signal comes in. JSON: a body of the API, an entry of a file, an alert with action."""

    JSON = "json"
    STRATEGY = "strategy"  # an alert with the order of a strategy
    CLOSE_ALERT = "close alert"  # an alert that closes a symbol, or all
    SIGNAL_FORM = "signal form"  # the console's form of a signal
    BRACKET = "bracket"  # by the API
    BRACKET_FORM = "bracket form"
    PAIR = "pair"  # a leg of an OCO pair, by the API
    PAIR_FORM = "pair form"
    OPEN_FORM = "open form"  # the portal's forms, one for each action
    MODIFY_FORM = "modify form"
    CLOSE_FORM = "close form"


@dataclass(frozen=True, slots=True)
class SignalField:
    """A field by its name in the API. actions: it has a meaning for these, else it is refused.

    aliases: other names in JSON. column: the model's field, which forms of the model have.
    """

    name: str
    actions: frozenset[Action] = OPEN
    aliases: tuple[str, ...] = ()
    column: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """All its names in JSON."""
        return (self.name, *self.aliases)


def _of(names: tuple[str, ...], actions: frozenset[Action] = OPEN) -> tuple[SignalField, ...]:
    return tuple(SignalField(name, actions) for name in names)


FIELDS = (
    SignalField("feed", ANY),
    SignalField("action", ANY),
    SignalField("refers_to", FOLLOW_UP),
    SignalField("refers_to_external_id", FOLLOW_UP, column="refers_to"),
    SignalField("symbol", ANY, ("currency_pair", "pair", "ticker"), "currency_pair"),
    SignalField("direction", ANY, ("side",)),
    SignalField("order_type"),
    SignalField("open_price", LEVELS, ("price",)),
    SignalField("stop_price", LEVELS),
    *_of(TRAIL_OPTIONS),
    SignalField("not_before"),
    SignalField("after_signal"),
    SignalField("after_signal_external_id", column="after_signal"),
    SignalField("after_state"),
    SignalField("close_at", LEVELS),
    SignalField("close_after_seconds"),
    SignalField("close_when_signal", LEVELS),
    SignalField("close_when_signal_external_id", LEVELS, column="close_when_signal"),
    SignalField("close_when_state", LEVELS),
    SignalField("sl", LEVELS, ("stop_loss",)),
    SignalField("tp", LEVELS, ("take_profit",), "target_prices"),
    SignalField("targets", LEVELS, column="target_prices"),
    SignalField("close_fraction", frozenset({Action.CLOSE})),
    SignalField("time_in_force"),
    SignalField("valid_until", ANY),
    SignalField("valid_for", ANY, column="valid_until"),
    SignalField("max_slippage", column="max_slippage_pips"),
    SignalField("max_slippage_unit"),
    SignalField("max_slippage_pips"),
    SignalField("max_spread"),
    SignalField("max_spread_unit"),
    *_of(RULE_FIELDS),
    *(SignalField(name, LEVELS if name == "price_limit" else OPEN) for name in STYLE_FIELDS),
    SignalField("strategy_id", ANY),
    SignalField("trade_plan_id", ANY),
    SignalField("risk_category"),
    SignalField("provider_quantity"),
    SignalField("provider_equity"),
    SignalField("provider_currency"),
    SignalField("external_id", ANY),
    SignalField("note", ANY),
    SignalField("time", ANY, ("timenow",)),
)  # fmt: skip
BY_NAME = {field.name: field for field in FIELDS}
ACTIONS = {name: field.actions for field in FIELDS for name in field.names}
"""The actions of each field, by each of its names."""
REFERENCES = ("refers_to", "refers_to_external_id")
# What a MODIFY may change: it needs one of them.
MODIFIABLE = (
    *(
        name
        for field in FIELDS
        if Action.MODIFY in field.actions and field.actions != ANY and field.name not in REFERENCES
        for name in field.names
    ),
    "valid_until",
    "valid_for",
)

_FORM_SENDS_NOW = "a form is sent by a person, now"
_FORM_KEY = "a form is sent once: its page carries a key of its own"
_CHOSEN = "a form chooses the signal itself"
_BY_END = "a form asks for the end as a time"
_SAME = "the same as {}, which the form has"
_OF_ORDER = "the position before and after the order states what it does"
_CLOSES = "it opens nothing"
_ENTRY = "it is an entry"
_HELD_LEG = "a leg waits for its price alone"

_STRATEGY = {
    **dict.fromkeys(REFERENCES, "it closes all that the feed has open of the symbol and side"),
    "close_fraction": _OF_ORDER,
}
_FORM = {
    "valid_for": _BY_END,
    "after_signal_external_id": _CHOSEN,
    "close_when_signal_external_id": _CHOSEN,
    "refers_to_external_id": _CHOSEN,
    "tp": _SAME.format("targets"),
    "max_slippage_pips": _SAME.format("max_slippage with its unit"),
    "external_id": _FORM_KEY,
    "time": _FORM_SENDS_NOW,
}
_OF_ENTRY = {"action": _ENTRY, **dict.fromkeys((*REFERENCES, "close_fraction"), _ENTRY)}
_FOLLOWS = dict.fromkeys(("symbol", "direction"), "those of the trade that it refers to")
_OF_BRACKET = dict.fromkeys((*REFERENCES, "close_fraction"), _ENTRY)
_OF_LEG = {
    **_OF_ENTRY,
    **dict.fromkeys((*CONDITION_NAMES, *EXIT_CONDITION_NAMES), _HELD_LEG),
    **dict.fromkeys(STYLE_FIELDS, "a leg is sent as one order"),
}


def _not_of(action: Action) -> dict[str, str]:
    """Return the fields that an action has no use for, and that the page has chosen it."""
    others = {field.name: f"a {action} has no such field" for field in FIELDS
              if action not in field.actions}  # fmt: skip
    return {**others, "action": "each action has its own page"}


LEFT_OUT: Mapping[EntryPoint, Mapping[str, str]] = {
    EntryPoint.JSON: {},
    EntryPoint.STRATEGY: _STRATEGY,
    EntryPoint.CLOSE_ALERT: {
        **dict.fromkeys(REFERENCES, "with one it is a signal as by the API"),
        **{field.name: _CLOSES for field in FIELDS if Action.CLOSE not in field.actions},
    },
    EntryPoint.SIGNAL_FORM: _FORM,
    EntryPoint.BRACKET: _OF_BRACKET,
    EntryPoint.BRACKET_FORM: {**_FORM, **_OF_ENTRY},
    EntryPoint.PAIR: _OF_LEG,
    EntryPoint.PAIR_FORM: {**_FORM, **_OF_LEG},
    EntryPoint.OPEN_FORM: {**_FORM, **_not_of(Action.OPEN)},
    EntryPoint.MODIFY_FORM: {**_FORM, **_FOLLOWS, **_not_of(Action.MODIFY)},
    EntryPoint.CLOSE_FORM: {**_FORM, **_FOLLOWS, **_not_of(Action.CLOSE)},
}
"""What an entry point does not take, by the field's name, and why."""


def names_of(entry_point: EntryPoint) -> tuple[str, ...]:
    """Return the names of the fields that an entry point takes, without aliases."""
    return tuple(field.name for field in FIELDS if field.name not in LEFT_OUT[entry_point])


# What an alert's order sends for the trade that it opens. It reads the other fields itself: symbol,
# side, time and ids.
_READ_BY_ORDER = ("action", "symbol", "direction", "external_id", "time")
ENTRY_FIELDS = tuple(
    name
    for field in map(BY_NAME.__getitem__, names_of(EntryPoint.STRATEGY))
    if field.name not in _READ_BY_ORDER
    for name in field.names
)


def columns_of(entry_point: EntryPoint) -> tuple[str, ...]:
    """Return the model's fields for what an entry point takes, each once, targets with parts."""
    columns = dict.fromkeys(BY_NAME[name].column or name for name in names_of(entry_point))
    return tuple(
        name
        for column in columns
        for name in ((column, "target_fractions") if column == "target_prices" else (column,))
    )
