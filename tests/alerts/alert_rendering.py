"""Write in one line how an alert is read, for the golden texts."""

from collections.abc import Sequence

from alerts.reading import (
    NO_MAPPING,
    Alert,
    AlertMapping,
    AlertOrder,
    AlertSignal,
    AlertUpdate,
    read_alert,
)
from common.errors import InvalidInputError
from common.money import plain
from signals.models import Action
from signals.reading.draft import SignalDraft, Target


def rendered(text: str, mapping: AlertMapping = NO_MAPPING) -> str:
    """Return what an alert does: `open BUY EUR/USD LIMIT 1.085 sl=1.08 tp=1.09@1`, `refuse CODE`.

    A refusal must say what to send instead.
    """
    try:
        alert = read_alert(text.encode(), mapping)
    except InvalidInputError as error:
        return f"refuse {error.code}" if error.detail else f"{error.code} without a detail"
    return " ".join(_words(alert))


def _words(alert: Alert) -> list[str]:
    if isinstance(alert, AlertSignal):
        return _signal(alert)
    return _order(alert) if isinstance(alert, AlertOrder) else _update(alert)


def _signal(alert: AlertSignal) -> list[str]:
    draft = alert.draft
    if draft.action != Action.OPEN:
        return [draft.action.lower(), str(draft.refers_to or draft.refers_to_external_id)]
    words = ["open", str(draft.direction), draft.pair, *_entry(draft)]
    return words + [f"{one.level}_by={plain(one.value)}{one.unit}" for one in alert.distances]


def _entry(draft: SignalDraft) -> list[str]:
    words = [str(draft.order_type)]
    words += [plain(price) for price in (draft.stop_price, draft.open_price) if price is not None]
    words += [f"sl={plain(draft.sl)}"] if draft.sl is not None else []
    return words + ([_targets(draft.targets)] if draft.targets else [])


def _order(alert: AlertOrder) -> list[str]:
    if alert.meaning is None:
        words = ["close", alert.pair or "ALL", alert.side or ""]
        words += [plain(alert.fraction)] if alert.fraction != 1 else []
        return [word for word in words if word]
    share = f"/{plain(alert.fraction)}" if alert.fraction != 1 else ""
    closes = f"{alert.side or 'BOTH'}{share}" if alert.closes else "-"
    if alert.opening is None:
        return ["order", alert.pair, f"close={closes}", "open=-"]
    opens = f"open={alert.opening.direction}"
    return ["order", alert.pair, f"close={closes}", opens, *_entry(alert.opening)]


def _update(alert: AlertUpdate) -> list[str]:
    words = ["update", alert.pair or "?", alert.side or ""]
    words += ["sl=ENTRY"] if alert.sl_to_entry else []
    words += [f"sl={plain(alert.sl)}"] if alert.sl is not None else []
    words += [_targets(alert.targets)] if alert.targets else []
    words += [f"close={plain(alert.fraction)}"] if alert.fraction is not None else []
    words += ["cancel"] if alert.cancels else []
    return [word for word in words if word]


def _targets(targets: Sequence[Target]) -> str:
    return "tp=" + ",".join(f"{plain(one.price)}@{plain(one.fraction)}" for one in targets)
