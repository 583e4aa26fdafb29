"""A signal from a bus: read strictly, then published by the services that the API uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from buses.incoming.models import BusMessage
from common.clocks import market_at, market_now
from common.errors import ConflictError, InvalidInputError, NotAllowedError
from common.reason_codes import Code
from signals import services
from signals.field_error import FieldError
from signals.locks import candidates_shared
from signals.models import Feed, Origin, Signal
from signals.publishing.ingest import save_draft, with_feed_errors
from signals.publishing.preview import require_possible
from signals.reading.draft import SignalDraft
from signals.reading.ends import end_errors
from signals.reading.errors import InvalidSignalError
from signals.reading.intake import parsed_object, read_signal
from signals.reading.strict_json import JsonObject, NumberText
from users.tenancy import on_behalf_of

SCHEMA_VERSION = 1
APPROVED = "APPROVED"
# The field of the API (docs/api.md) that each field of a message is. Others have the same name.
RENAMED = {
    "signal_id": "external_id",
    "stop_loss": "sl",
    "take_profit": "tp",
    "position_size": "provider_quantity",
    "refers_to": "refers_to_external_id",
}
SAME_NAME = (
    "symbol", "max_slippage_pips", "note", "risk_category", "strategy_id", "time_in_force",
    "trade_plan_id", "valid_until",
)  # fmt: skip
# signal_type: what the API takes for it, and the field that entry_price is there. Each names its
# order type: the installation's default is for signals that name none.
TYPES: dict[str, tuple[dict[str, str], str]] = {
    "BUY": ({"direction": "BUY", "order_type": "MARKET"}, "open_price"),
    "SELL": ({"direction": "SELL", "order_type": "MARKET"}, "open_price"),
    "BUY_LIMIT": ({"direction": "BUY", "order_type": "LIMIT"}, "open_price"),
    "SELL_LIMIT": ({"direction": "SELL", "order_type": "LIMIT"}, "open_price"),
    "BUY_STOP": ({"direction": "BUY", "order_type": "STOP"}, "stop_price"),
    "SELL_STOP": ({"direction": "SELL", "order_type": "STOP"}, "stop_price"),
    "CLOSE": ({"action": "CLOSE"}, "open_price"),
}
OWN = ("approval", "entry_price", "schema_version", "signal_type")
KNOWN = frozenset({*RENAMED, *SAME_NAME, *OWN})


def publish_from_bus(feed: Feed, message: BusMessage) -> Signal:
    """Publish the signal of a message to its feed, once, in the caller's transaction.

    Raises InvalidInputError, ConflictError and NotAllowedError as the API does, FEED_NOT_APPROVED
    for a feed without approval, SCHEMA_UNKNOWN. Then the caller must roll back.
    """
    if feed.archived_at is not None or not feed.owner.is_active:
        raise InvalidInputError(Code.FEED_UNKNOWN, "The feed is archived, or its owner inactive.")
    if not feed.is_approved:
        raise NotAllowedError(Code.FEED_NOT_APPROVED)
    with on_behalf_of(feed.owner):
        with with_feed_errors(lambda _: feed, Origin.BUS):
            draft = read_bus_signal(bytes(message.body), sent_at=message.stored_at)
        candidates_shared(feed.pk)  # before the feed's lock, which `save_draft` takes
        signal, is_new = save_draft(
            feed, draft, origin=Origin.BUS, by=feed.owner, received_at=message.stored_at
        )
        if is_new:
            require_possible(signal)
        if not signal.is_published and signal.cancelled_at is None:
            if errors := list(end_errors(draft, Origin.BUS, market_now(), ())):  # stored by the API
                raise InvalidSignalError(errors)
            services.publish(signal.pk, by=feed.owner)
    return signal


def read_bus_signal(body: bytes, *, sent_at: datetime) -> SignalDraft:
    """Return the signal of a message. sent_at: when the bus stored it; an entry's age counts from
    then, whenever it is delivered.

    Raises InvalidInputError; the fields in errors have the names of the message.
    """
    sent = parsed_object(body)
    _require_schema(sent)
    errors = [
        FieldError(Code.FIELD_UNKNOWN, name, f"{name[:60]!r} is not a known field.")
        for name in sent
        if name not in KNOWN
    ]
    approval = sent.get("approval", APPROVED)
    if not isinstance(approval, str) or approval.upper() != APPROVED:
        raise ConflictError(Code.SIGNAL_NOT_APPROVED, "The message says so in `approval`.")
    if not isinstance(sent.get("signal_id"), str) or not sent["signal_id"]:
        detail = "signal_id is required: by it a repeated message is recognised."
        errors.append(FieldError(Code.FIELD_REQUIRED, "signal_id", detail))
    kind = str(sent.get("signal_type") or "").upper()
    if kind not in TYPES:
        detail = f"signal_type must be one of {', '.join(TYPES)}."
        errors.append(FieldError(Code.FIELD_INVALID, "signal_type", detail))
    if errors:
        raise InvalidSignalError(errors)
    skipped = {*OWN} - {"entry_price"}
    names = {name: _name_of(name, kind) for name in sent if name not in skipped}
    try:
        draft = read_signal(_renamed(sent, names, TYPES[kind][0]))
    except InvalidSignalError as error:
        theirs = {ours: name for name, ours in names.items()}
        found = [replace(one, field=theirs.get(one.field, one.field)) for one in error.errors]
        raise InvalidSignalError(found, error.drafts) from error
    return replace(draft, sent_at=market_at(sent_at))


def _require_schema(sent: Mapping[str, Any]) -> None:
    version = sent.get("schema_version", NumberText(SCHEMA_VERSION))
    if not isinstance(version, NumberText) or version != str(SCHEMA_VERSION):
        detail = f"schema_version is {str(version)[:20]!r}; this installation knows 1."
        raise InvalidInputError(Code.SCHEMA_UNKNOWN, detail, field="schema_version")


def _name_of(name: str, kind: str) -> str:
    return TYPES[kind][1] if name == "entry_price" else RENAMED.get(name, name)


def _renamed(
    sent: Mapping[str, Any], names: Mapping[str, str], more: Mapping[str, str]
) -> JsonObject:
    renamed = JsonObject({ours: _value(name, sent[name]) for name, ours in names.items()})
    renamed.update(more)
    if isinstance(sent, JsonObject):  # a key that is there twice is refused
        renamed.duplicates = tuple(names.get(name, name) for name in sent.duplicates)
    return renamed


def _value(name: str, value: Any) -> Any:
    """Return a value as the API takes it; ids may be numbers there."""
    is_id = name in ("signal_id", "refers_to")
    return str(value) if is_id and isinstance(value, NumberText) else value
