"""The entry points that a signal comes in by: each sends the same fields its own way."""

import json
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from django.core.cache import cache
from django.http import QueryDict
from django.test import Client

from common.clocks import market_now
from common.errors import InvalidInputError
from signals.feeds.services import create_feed_token
from signals.forms.acts import ActForm
from signals.forms.entries import BracketForms, EntryForms, PairForms
from signals.forms.operators import SignalForm
from signals.models import Action, Feed, Origin, Signal
from signals.publishing.batch import Publisher, entries_of
from signals.publishing.drafts import read_draft, store_draft
from signals.publishing.ingest import save_draft
from signals.reading.errors import field_errors
from signals.reading.field_table import BY_NAME, FIELDS, EntryPoint, names_of
from tests.alert_inbox import answer_of
from tests.api.factories import World

Sent = Mapping[str, Any]
Faults = set[tuple[str, str]]
TARGETS = [{"price": "1.2", "fraction": "0.5"}, {"price": "1.3", "fraction": "0.25"}]
ENTRY: dict[str, Any] = {"symbol": "EURUSD", "direction": "BUY", "sl": "1.05", "targets": TARGETS}
# The other leg of a pair, which no test looks at.
OTHER = {"direction": "SELL", "order_type": "STOP", "stop_price": "1.01", "sl": "1.4"}


def column(field: str) -> str:
    """Return the model's field that an error is about, whatever the entry point calls it."""
    parts = field.split(".")
    name = parts[2] if parts[0] == "legs" and len(parts) > 2 else parts[0]
    if name == "target_fractions":
        return "target_prices"
    found = next((one for one in FIELDS if name in one.names), None)
    return (found.column or found.name) if found else name


def faults_of(problems: list[dict[str, str]]) -> Faults:
    """Return (code, field) of each error in an answer of the API."""
    return {(one["code"], column(one["field"])) for one in problems}


def _raised(act: Callable[[], Any]) -> Faults:
    try:
        act()
    except InvalidInputError as error:
        return {(str(one.code), column(one.field)) for one in field_errors(error)}
    return set()


def _answered(response: Any) -> Faults:
    if response.status_code < 300:
        return set()
    return faults_of(response.json()["errors"])


def _shown(*forms: Any) -> Faults:
    return {
        (str(error.code), column(name))
        for form in forms
        for name, errors in form.errors.as_data().items()
        for error in errors
    }


def api(world: World, feed: Feed, sent: Sent) -> Faults:
    """Send a signal to the API."""
    body = {**sent, "feed": feed.slug}
    return _answered(world.client("paula").post("/api/v1/signals/", body, format="json"))


def bracket(world: World, feed: Feed, sent: Sent) -> Faults:
    """Send a bracket to the API."""
    body = {**sent, "feed": feed.slug}
    return _answered(world.client("paula").post("/api/v1/signals/bracket/", body, format="json"))


def pair(world: World, feed: Feed, sent: Sent) -> Faults:
    """Send an OCO pair to the API, whose first leg is what is sent."""
    shared = {name: sent[name] for name in ("symbol", "external_id") if name in sent}
    leg = {name: value for name, value in sent.items() if name not in shared}
    body = {"feed": feed.slug, **shared, "legs": [leg, OTHER]}
    return _answered(world.client("paula").post("/api/v1/signals/oco/", body, format="json"))


def file(_: World, feed: Feed, sent: Sent) -> Faults:
    """Publish a file with one entry."""
    publisher = Publisher(default_feed=feed.slug, by=feed.owner)
    [outcome] = publisher.publish(entries_of(json.dumps(sent).encode()))
    return {(str(error.code), column(error.field)) for error in outcome.errors}


def alert(_: World, feed: Feed, sent: Sent) -> Faults:
    """Post an alert."""
    cache.clear()
    _token, secret = create_feed_token(feed)
    path = f"/hooks/tradingview/{feed.slug}/{secret}/"
    response = Client().post(path, json.dumps(sent), content_type="application/json")
    return _answered(answer_of(response))


def plain_alert(world: World, feed: Feed, sent: Sent) -> Faults:
    """Post a signal as an alert."""
    return alert(world, feed, {"action": "OPEN", **sent})


def strategy(world: World, feed: Feed, sent: Sent) -> Faults:
    """Post the order of a strategy that begins a trade."""
    state = {"market_position": "long", "prev_market_position": "flat"}
    order = {name: value for name, value in sent.items() if name != "direction"}
    now = market_now().isoformat()
    return alert(world, feed, {"timenow": now, **order, **state, "action": "buy"})


def signal_form(_: World, feed: Feed, sent: Sent) -> Faults:
    """Fill in the console's form of a signal."""
    usual = {
        "action": "OPEN", "order_type": "MARKET", "time_in_force": "GTC", "close_fraction": "1",
        "risk_category": "normal",
    }  # fmt: skip
    columns = {BY_NAME[name].column or name: value for name, value in sent.items()}
    columns |= _targets(columns.pop("target_prices", []))
    form = SignalForm({**usual, **columns, "feed": feed.pk})
    if form.is_valid():
        form.instance.origin = Origin.HAND
        form.save()
    return _shown(form)


def _targets(value: Any) -> dict[str, str]:
    return {
        f"target_{name}s": ",".join(one[name] for one in value) for name in ("price", "fraction")
    } if value else {}  # fmt: skip


def _entry_forms(kind: type[EntryForms], feed: Feed, values: Sent) -> Faults:
    data = QueryDict(mutable=True)
    data.update({"feed": feed.slug, "risk_category": "normal", **values})
    forms = kind(Feed.objects.all(), data)
    drafts = forms.read()
    if drafts is not None and forms.preview(drafts):
        forms.mark_as_seen()
        for form in forms.all_forms:
            form.full_clean()
        forms.save(drafts, by=feed.owner)
    return _shown(*forms.all_forms)


def _of_leg(kind: type[EntryForms], name: str, sent: Sent) -> dict[str, Any]:
    shared = {
        *kind(Feed.objects.all()).shared.fields,
        *kind(Feed.objects.all()).shared_options.fields,
    }
    values = dict(sent) | _targets(sent.get("targets"))
    values.pop("targets", None)
    return {key if key in shared else f"{name}-{key}": value for key, value in values.items()}


def bracket_form(_: World, feed: Feed, sent: Sent) -> Faults:
    """Fill in the console's form of a bracket."""
    usual = {"entry-order_type": "MARKET"}
    return _entry_forms(BracketForms, feed, usual | _of_leg(BracketForms, "entry", sent))


def pair_form(_: World, feed: Feed, sent: Sent) -> Faults:
    """Fill in the console's form of an OCO pair."""
    other = _of_leg(PairForms, "second", OTHER)
    return _entry_forms(PairForms, feed, other | _of_leg(PairForms, "first", sent))


def open_form(_: World, feed: Feed, sent: Sent) -> Faults:
    """Fill in the portal's form of an entry, and publish nothing."""
    values = dict(sent) | _targets(sent.get("targets"))
    values.pop("targets", None)
    usual = {"order_type": "MARKET", "risk_category": "normal", "key": str(uuid4())}
    form = ActForm(feed, Action.OPEN, data=usual | values)
    if not form.find_faults():
        draft = store_draft(feed.pk, action=Action.OPEN, body=form.body(), by=feed.owner)
        save_draft(feed, read_draft(draft), origin=Origin.HAND, by=feed.owner)
    return _shown(form)


ENTRY_POINTS: dict[str, tuple[EntryPoint, Callable[[World, Feed, Sent], Faults]]] = {
    "API": (EntryPoint.JSON, api),
    "API bracket": (EntryPoint.BRACKET, bracket),
    "API pair": (EntryPoint.PAIR, pair),
    "file": (EntryPoint.JSON, file),
    "alert": (EntryPoint.JSON, plain_alert),
    "strategy": (EntryPoint.STRATEGY, strategy),
    "form": (EntryPoint.SIGNAL_FORM, signal_form),
    "bracket form": (EntryPoint.BRACKET_FORM, bracket_form),
    "pair form": (EntryPoint.PAIR_FORM, pair_form),
    "portal form": (EntryPoint.OPEN_FORM, open_form),
}


def takes(entry_point: EntryPoint, sent: Sent) -> bool:
    """Return whether an entry point takes all of these fields."""
    return set(sent) <= set(names_of(entry_point))


def stored() -> Signal:
    """Return the signal that was sent: of a pair its first leg."""
    newest = Signal.objects.latest("id")
    return newest if newest.oco_group is None else Signal.objects.order_by("-id")[1]
