"""Store a draft as a signal of its feed, once; recognise it if it is sent again."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db import IntegrityError, transaction

from common.clocks import market_at, market_now
from common.db.sql import rows
from common.errors import ConflictError, InvalidInputError, NotAllowedError, raise_all
from common.permissions import Right, require
from common.reason_codes import Code
from common.stop_rules import RULE_FIELDS
from signals.checks.entry_sides import new_price_errors
from signals.checks.price_guard import require_reasonable_prices
from signals.checks.repetitions import require_new
from signals.effective_levels import stop_now
from signals.entry_ends import new_end_errors
from signals.field_error import FieldError
from signals.locks import feed_shared
from signals.models import TRAIL_OPTIONS, Action, Approval, Feed, Origin, Signal
from signals.reading.draft import SignalDraft, in_order_of_price, level_errors
from signals.reading.ends import REPLAY_WINDOW, end_errors, valid_until_of
from signals.reading.errors import InvalidSignalError, field_errors
from signals.reading.validation import entry_price_errors
from signals.slicing import STYLE_FIELDS, new_limit_errors
from signals.symbol_completion import settled_pair
from users.models import User

Value = TypeVar("Value")
_STORED_UNCHANGED = (
    "action",
    "order_type",
    "open_price",
    "stop_price",
    *TRAIL_OPTIONS,
    "not_before",
    "after_state",
    "close_at",
    "close_after_seconds",
    "close_when_state",
    "sl",
    "close_fraction",
    "time_in_force",
    "max_slippage_pips",
    "max_slippage_unit",
    "max_spread",
    "max_spread_unit",
    *RULE_FIELDS,
    *STYLE_FIELDS,
    "strategy_id",
    "trade_plan_id",
    "risk_category",
    "provider_quantity",
    "provider_equity",
    "provider_currency",
    "note",
)
_ALERTS = 0x46434110  # namespace of the advisory locks that serialise equal alerts


def save_draft(
    feed: Feed,
    draft: SignalDraft,
    *,
    origin: Origin,
    by: User | None,
    oco_group: UUID | None = None,
    is_reversal: bool = False,
    received_at: datetime | None = None,
    is_another: Callable[[Signal], bool] | None = None,
    may_repeat: bool = False,
) -> tuple[Signal, bool]:
    """Store a draft as a signal of `feed`; return the signal and whether it is new.

    The same external id with the same contents returns the existing signal, even if two processes
    store it at once. An alert without external id is recognised by its contents: with its time for
    good, without one for REPLAY_WINDOW, unless is_another says that it is another one.
    Its approval follows the feed's. Call `candidates_shared` before if you also publish it.
    oco_group: of a leg of an OCO pair, which `oco.py` stores. is_reversal: a CLOSE whose sender
    opens the other side with it. received_at: when it arrived, if it waited since; valid_for and
    REPLAY_WINDOW count from then. may_repeat: its values may be those of an earlier entry.

    Raises ConflictError DUPLICATE_SIGNAL or SIGNAL_REPEATED, InvalidInputError FEED_UNKNOWN,
    FIELD_INVALID, REFERENCE_REQUIRED, SIGNAL_ENDED, ALERT_TOO_OLD, SYMBOL_UNKNOWN,
    SYMBOL_NOT_LISTED, PRICE_FAR_FROM_MARKET, all at once;
    NotAllowedError for a feed that is not `by`'s. Then nothing is written.
    """
    require(by, Right.PUBLISH, owner_id=feed.owner_id)
    digest = draft.digest(with_time=not draft.external_id)
    with transaction.atomic():
        feed = feed_shared(feed.pk)  # read again: its approval may have been withdrawn
        if _feed_error(feed, draft) is None and (
            known := _existing(feed, draft, digest, origin, received_at, is_another)
        ):
            return known, False
        values = _values(feed, draft, origin, received_at=received_at)
        if oco_group is None and not may_repeat:  # the legs of a pair are alike
            require_new(feed, values)
        try:
            with transaction.atomic():
                signal = Signal.objects.create(
                    feed=feed, origin=origin, content_hash=digest, created_by=by,
                    oco_group=oco_group, is_reversal=is_reversal, **values,
                )  # fmt: skip
        except IntegrityError as error:
            if _constraint(error) != "one_external_id":
                raise
            return _same_or_conflict(_by_external_id(feed, draft), digest), False
        return signal, True


def build_unsaved(feed: Feed, draft: SignalDraft, origin: Origin = Origin.API) -> Signal:
    """Return the signal that `save_draft` would store; nothing is written.

    Raises InvalidInputError as `save_draft` does.
    """
    return Signal(feed=feed, **_values(feed, draft, origin))


@contextmanager
def with_feed_errors(
    find_feed: Callable[[SignalDraft], Feed], origin: Origin = Origin.API
) -> Iterator[None]:
    """Add to the errors of a signal that is read here those that its feed and the market show.

    So its sender gets all of them at once. find_feed: returns the feed that the signal is for, or
    raises as the entry point does; what it raises because of the field is added as well.
    """
    try:
        yield
    except InvalidSignalError as error:
        more = further_errors(error.drafts, error.errors, find_feed, origin)
        raise InvalidSignalError([*error.errors, *more]) from error


def require_feed(
    find_feed: Callable[[SignalDraft], Feed],
    drafts: Sequence[SignalDraft],
    origin: Origin = Origin.API,
) -> Feed:
    """Return the feed of a signal that was read, of an OCO pair both legs, by `find_feed`.

    Raises what that raises, with what else is wrong with the signal now.
    """
    with with_feed_errors(find_feed, origin):
        try:
            return find_feed(drafts[0])
        except InvalidInputError as error:
            raise InvalidSignalError(field_errors(error), drafts) from error


def further_errors(
    drafts: Sequence[SignalDraft],
    errors: Sequence[FieldError],
    find_feed: Callable[[SignalDraft], Feed],
    origin: Origin = Origin.API,
) -> list[FieldError]:
    """Return what a feed and the market show of drafts that have errors already.

    drafts: what could be read of one signal, or of both legs of an OCO pair.
    """
    found = list[FieldError]()
    for index, draft in enumerate(drafts):
        at = f"legs.{index}." if len(drafts) > 1 else ""
        failed = {one.field.removeprefix(at).partition(".")[0] for one in errors}
        for one in _found_beside(draft, failed, find_feed, origin):
            is_shared = not at or one.field in (draft.symbol_field, "feed")
            found.append(one if is_shared else replace(one, field=f"{at}{one.field}"))
    return list(dict.fromkeys(found))


def _found_beside(
    draft: SignalDraft,
    failed: Collection[str],
    find_feed: Callable[[SignalDraft], Feed],
    origin: Origin,
) -> list[FieldError]:
    """Return what a feed finds wrong with a draft of which some fields could not be read."""
    found: Sequence[FieldError] = ()
    try:
        with transaction.atomic():
            _values(find_feed(draft), draft, origin, failed=failed)
    except InvalidSignalError as error:
        found = error.errors
    except InvalidInputError as error:  # by find_feed: the times need no feed
        found = [*field_errors(error), *end_errors(draft, origin, market_now(), failed)]
    except (ConflictError, NotAllowedError):
        pass  # what could be read is not what was meant, so only its own errors are sure
    return [one for one in found if one.field.partition(".")[0] not in failed]


def _feed_error(feed: Feed, draft: SignalDraft) -> InvalidInputError | None:
    if feed.archived_at is not None:
        return InvalidInputError(Code.FEED_UNKNOWN, "The feed is archived.", field="feed")
    return other_feed_error(feed, draft.feed)


def other_feed_error(feed: Feed, named: str) -> InvalidInputError | None:
    """Return the error if a signal that was sent to `feed` names another one."""
    if named and named != feed.slug:
        detail = f"The signal names the feed {named!r}, but was sent to {feed.slug!r}."
        return InvalidInputError(Code.FIELD_INVALID, detail, field="feed")
    return None


def _existing(
    feed: Feed,
    draft: SignalDraft,
    digest: str,
    origin: Origin,
    received_at: datetime | None,
    is_another: Callable[[Signal], bool] | None,
) -> Signal | None:
    if draft.external_id:
        known = _by_external_id(feed, draft)
        return _same_or_conflict(known, digest) if known else None
    if origin != Origin.ALERT:
        return None  # two equal manual signals are two signals
    key = int(digest[:8], 16) - 2**31
    rows("SELECT pg_advisory_xact_lock(%s::int, %s::int)", (_ALERTS, key))
    same = Signal.objects.filter(feed=feed, external_id__isnull=True, content_hash=digest)
    if draft.sent_at is None:  # else the digest holds it, and a resend may be as late as is allowed
        same = same.filter(created_at__gt=(received_at or datetime.now(UTC)) - REPLAY_WINDOW)
    known = same.order_by("-id").first()
    if known is None or draft.sent_at is not None:
        return known
    is_new = _is_superseded(known) or (is_another is not None and is_another(known))
    return None if is_new else known


def _is_superseded(known: Signal) -> bool:
    """Whether a MODIFY's levels were changed again: then an equal one is a new signal."""
    later = Signal.objects.filter(refers_to_id=known.refers_to_id, action=Action.MODIFY)
    return known.action == Action.MODIFY and later.filter(pk__gt=known.pk).exists()


def _by_external_id(feed: Feed, draft: SignalDraft) -> Signal | None:
    return Signal.objects.filter(feed=feed, external_id=draft.external_id).first()


def _same_or_conflict(known: Signal | None, digest: str) -> Signal:
    if known is None or known.content_hash != digest:
        number = known.number if known else ""
        raise ConflictError(
            Code.DUPLICATE_SIGNAL, f"{number} has this external id with other contents."
        )
    return known


def _values(
    feed: Feed,
    draft: SignalDraft,
    origin: Origin,
    *,
    failed: Collection[str] = (),
    received_at: datetime | None = None,
) -> dict[str, Any]:
    """Return the columns of a signal. Raises InvalidSignalError with all reasons why it cannot be
    stored now.

    failed: fields that could not be read; the draft is then only checked for further errors.
    received_at: when it arrived; None: now.
    """
    errors = list[FieldError]()

    def attempt(read: Callable[[], Value]) -> Value | None:
        try:
            return read()
        except InvalidInputError as error:
            errors.extend(one for one in field_errors(error) if one not in errors)
            return None

    if (wrong_feed := _feed_error(feed, draft)) is not None:
        errors.extend(field_errors(wrong_feed))
    now = market_now()
    valid_until = valid_until_of(draft, origin, market_at(received_at) if received_at else now)
    errors += end_errors(draft, origin, now, failed)
    is_open = draft.action == Action.OPEN
    names_another = draft.refers_to is not None or draft.refers_to_external_id
    refers = not is_open and bool(names_another or not failed)
    referred = attempt(lambda: _require_referred(feed, draft)) if refers else None
    if draft.action == Action.MODIFY and referred is not None:
        attempt(lambda: _require_fit(referred, draft, valid_until))
    after = attempt(
        lambda: _awaited_signal(
            feed, "after_signal", draft.after_signal, draft.after_signal_external_id
        )
    )
    closing = attempt(lambda: _closing_signal(feed, draft, referred))
    symbol = attempt(lambda: _symbol(feed, draft, referred)) if is_open or referred else None
    values: dict[str, Any] = {}
    if symbol is not None:
        pair, direction = symbol
        levels = attempt(lambda: _levels(draft, direction))
        values = _unchanged_values(draft) | (levels or {})
        values |= {"currency_pair": pair, "direction": direction}
        attempt(lambda: require_reasonable_prices(Signal(feed=feed, **values), feed))
    if errors:
        raise InvalidSignalError(errors)
    return {
        **values,
        "refers_to": referred,
        "after_signal": after,
        "close_when_signal": closing,
        "valid_until": valid_until,
        "sent_at": draft.sent_at,
        "approval": Approval.APPROVED if feed.is_approved else Approval.PENDING,
        "approved_at": now if feed.is_approved else None,
    }


def _require_fit(opened: Signal, draft: SignalDraft, valid_until: datetime | None) -> None:
    """Raise InvalidInputError for the prices and the end of a MODIFY that its entry cannot have."""
    prices = {"open_price": draft.open_price, "stop_price": draft.stop_price}
    errors: list[InvalidInputError] = [
        InvalidInputError(Code.FIELD_INVALID, detail, field=name)
        for name, detail in entry_price_errors(opened.order_type, prices)
    ]
    name = "valid_until" if draft.valid_for is None else "valid_for"
    errors += [
        InvalidInputError(Code.FIELD_INVALID, detail, field=name)
        for detail in new_end_errors(opened, valid_until, draft.close_at)
    ]
    errors += [
        InvalidSignalError([error])
        for error in new_price_errors(
            opened, **prices, sl=draft.sl, targets=[one.price for one in draft.targets]
        )
    ]
    style, limit = opened.execution_style, draft.price_limit
    # A stop may pass the limit later: it secures a profit.
    sl = stop_now(opened) if limit is not None and draft.sl is None else draft.sl
    errors += [
        InvalidSignalError([error])
        for error in new_limit_errors(style, opened.direction, limit, sl)
    ]
    raise_all(errors)


def _unchanged_values(draft: SignalDraft) -> dict[str, Any]:
    values = {name: getattr(draft, name) for name in _STORED_UNCHANGED}
    return values | {"external_id": draft.external_id or None}


def _levels(draft: SignalDraft, direction: str) -> dict[str, Any]:
    if draft.action == Action.MODIFY:  # its direction is only known now
        errors = list(
            level_errors(direction=direction, entry=None, sl=draft.sl, targets=draft.targets)
        )
        if errors:
            raise InvalidSignalError(errors)
    targets = in_order_of_price(draft.targets, direction)
    return {
        "target_prices": [target.price for target in targets],
        "target_fractions": [target.fraction for target in targets],
    }


def referred_pair(feed: Feed, draft: SignalDraft) -> str:
    """Return the pair of the signal that a MODIFY or CLOSE refers to; empty without one."""
    referred = find_referred(feed, draft)
    return referred.currency_pair if referred else ""


def find_referred(feed: Feed, draft: SignalDraft) -> Signal | None:
    """Return the OPEN signal that a MODIFY or CLOSE refers to; None without one."""
    opened = Signal.objects.filter(feed=feed, action=Action.OPEN)
    if draft.refers_to is not None:
        return opened.filter(pk=draft.refers_to).first()
    return opened.filter(external_id=draft.refers_to_external_id).first()


def _require_referred(feed: Feed, draft: SignalDraft) -> Signal:
    """Return the OPEN signal that a MODIFY or CLOSE refers to. Raises InvalidInputError."""
    opened = Signal.objects.filter(feed=feed, action=Action.OPEN)
    if draft.refers_to is not None:
        name, reference = "refers_to", str(draft.refers_to)
    else:
        name, reference = "refers_to_external_id", draft.refers_to_external_id
    referred = find_referred(feed, draft)
    if referred is None:
        detail = f"There is no OPEN signal {reference!r} in the feed {feed.slug!r}."
        if name == "refers_to" and opened.filter(external_id=reference).exists():
            detail += f" {reference!r} is an external id: send it as refers_to_external_id."
        raise InvalidInputError(Code.REFERENCE_REQUIRED, detail, field=name)
    return referred


def _closing_signal(feed: Feed, draft: SignalDraft, referred: Signal | None) -> Signal | None:
    """Return the signal whose state closes the position; None without one."""
    name = "close_when_signal"
    found = _awaited_signal(
        feed, name, draft.close_when_signal, draft.close_when_signal_external_id
    )
    if found is not None and found == referred:
        detail = f"{found.number} is the trade itself: name another signal."
        used = name if draft.close_when_signal is not None else f"{name}_external_id"
        raise InvalidInputError(Code.FIELD_INVALID, detail, field=used)
    return found


def _awaited_signal(
    feed: Feed, name: str, signal_id: int | None, external_id: str
) -> Signal | None:
    """Return the signal that an entry or exit waits for; None without one.

    name: the field of its id. Raises InvalidInputError.
    """
    if signal_id is None and not external_id:
        return None
    opened = Signal.objects.filter(feed=feed, action=Action.OPEN)
    reference = str(signal_id)
    if signal_id is not None:
        found = opened.filter(pk=signal_id).first()
    else:
        name, reference = f"{name}_external_id", external_id
        found = opened.filter(external_id=reference).first()
    if found is None:
        detail = f"There is no OPEN signal {reference!r} in the feed {feed.slug!r}."
        raise InvalidInputError(Code.REFERENCE_REQUIRED, detail, field=name)
    if found.cancelled_at is not None:
        raise InvalidInputError(
            Code.SIGNAL_ENDED, f"{found.number} was cancelled: wait for another one.", field=name
        )
    return found


def _symbol(feed: Feed, draft: SignalDraft, referred: Signal | None) -> tuple[str, str]:
    if referred is None:
        pair = settled_pair(feed, draft.pair, field=draft.symbol_field)
        return pair, str(draft.direction)
    errors = []
    for name, sent, expected in (
        (draft.symbol_field, draft.pair, referred.currency_pair),
        ("direction", draft.direction, referred.direction),
    ):
        # A symbol may be sent without its currency.
        if sent and sent != expected and not expected.startswith(f"{sent}/"):
            detail = f"{referred.number} is {referred}; {name} must be {expected} or left out."
            errors.append(InvalidInputError(Code.FIELD_INVALID, detail, field=name))
    raise_all(errors)
    return referred.currency_pair, referred.direction


def _constraint(error: IntegrityError) -> str:
    diagnostic = getattr(error.__cause__, "diag", None)
    return str(getattr(diagnostic, "constraint_name", ""))
