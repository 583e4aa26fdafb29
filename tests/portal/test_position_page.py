"""One position's page: its figures, its levels, and actions that show first what they send."""

import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from analytics.history.open_tables import OPEN_TABLES
from common.clocks import market_now
from connections.models import Instrument, KillSwitch, Subscription, SubscriptionInterval
from execution.models import ExecutionLog, Order
from positions.models import ExecutionPosition, StopRule
from prices.models import LatestQuote
from signals.models import Signal
from tests.execution import factories
from tests.html import html_of
from tests.portal.conftest import SignedIn, as_web_process
from tests.portal.factories import World

pytestmark = pytest.mark.django_db
Committed = Callable[..., Any]


@pytest.fixture
def held(world: World) -> ExecutionPosition:
    """Alice's sell of 40,000 EUR/USD at 1.38254, stop 1.38814; it could be closed at 1.38375."""
    Instrument.objects.create(
        book=world.mt5.instrument_book, pair="EUR/USD", symbol="EURUSD", digits=5,
        pip=D("0.0001"), quantity_min=1000, quantity_step=1000, quantity_max=1_000_000,
        contract_size=100_000, read_at=market_now(),
    )  # fmt: skip
    return world.unprotected


@pytest.fixture
def alice(world: World, held: ExecutionPosition, signed_in: SignedIn, as_web: None) -> Client:
    return signed_in(world.alice)


@pytest.fixture
def owner(world: World, held: ExecutionPosition, signed_in: SignedIn) -> Client:
    """The same without the web process's role, for tests that change rows between requests."""
    return signed_in(world.alice)


def stored(position: ExecutionPosition) -> ExecutionPosition:
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
    return ExecutionPosition.objects.get(pk=position.pk)


def hidden(page: str) -> dict[str, str]:
    """Return the hidden fields of the form: what was shown."""
    found = re.findall(r'<input type="hidden" name="(seen|shown)" value="([^"]*)"', page)
    assert len(found) == 2, page
    return dict(found)


def preview(client: Client, path: str, **typed: str) -> tuple[str, dict[str, str]]:
    """Send the form the first time: return the page, and what confirms it.

    It has an address of its own, so that a browser can go back to it without a question.
    """
    response = client.get(path, typed)
    page = html_of(response)
    assert response.status_code == 200, page
    return page, {**typed, **hidden(page)}


# ---- the page ------------------------------------------------------------------------------------
def test_page_states_the_result_in_money_pips_and_r(alice: Client, held: Any) -> None:
    page = html_of(alice.get(f"/positions/{held.pk}/"))
    assert "−48.40" in page  # 12.1 pips against 40,000
    assert "−12.1 pips" in page
    assert "−0.22 R" in page  # of 56 pips to the first stop
    assert "43.9" in page  # pips to the stop
    assert "−224.00" in page  # at the stop
    assert "1 R is the distance from the entry to its first stop, 1.38814." in page
    entry = Order.objects.get(connection=held.connection_id, signal=held.signal_id)
    assert f"O-{entry.pk}" in page


def test_targets_are_those_of_the_newest_modify_with_what_each_closes(
    owner: Client, held: ExecutionPosition
) -> None:
    factories.signal(
        held.signal.feed,
        [("1.3850", "0.5"), ("1.3840", "0.3"), ("1.3830", "0.2")],
        action="MODIFY", refers_to=held.signal, sl=None,
    )  # fmt: skip
    ExecutionPosition.objects.filter(pk=held.pk).update(tp="1.3840", tp_number=2)
    page = html_of(owner.get(f"/positions/{held.pk}/"))
    assert re.findall(r"Target \d|closes (?:\d+ %|all)", page) == [
        "Target 2", "closes 30 %", "Target 3", "closes all",
    ]  # fmt: skip


def test_targets_follow_a_modify_after_the_owner_has_left_the_feed(
    owner: Client, world: World, held: ExecutionPosition
) -> None:
    """Their position follows it, so page and export say where it will be closed."""
    feed, left_at = held.signal.feed, market_now()
    Subscription.objects.filter(feed=feed).update(archived_at=left_at)
    SubscriptionInterval.objects.filter(subscription__feed=feed).update(ended_at=left_at)
    modified = factories.signal(
        feed, [("1.3700", "0.5"), ("1.3690", "0.5")], action="MODIFY", refers_to=held.signal,
        sl=None,
    )  # fmt: skip
    ExecutionPosition.objects.filter(pk=held.pk).update(tp="1.3700", tp_number=1)
    as_web_process(owner)
    page = html_of(owner.get(f"/positions/{held.pk}/"))
    found = re.findall(r"Target \d|1\.3[67]\d+|closes (?:\d+ %|all)", page)
    assert found == ["Target 1", "closes 50 %", "1.37000", "Target 2", "closes all", "1.36900"]
    names, *rows = OPEN_TABLES["open-positions"].rows(world.alice, {})
    (row,) = (row for row in rows if row[0] == f"P-{held.pk}")
    assert row[names.index("targets")] == "1.37 1.369"
    assert owner.get(f"/signals/{modified.pk}/").status_code == 404


def test_target_beyond_the_list_closes_all_that_is_left(
    owner: Client, held: ExecutionPosition
) -> None:
    Signal.objects.filter(pk=held.signal_id).update(
        target_prices=[D("1.3850")], target_fractions=[D("0.5")]
    )
    ExecutionPosition.objects.filter(pk=held.pk).update(tp="1.3840", tp_number=2)
    page = html_of(owner.get(f"/positions/{held.pk}/"))
    assert re.findall(r"closes (?:\d+ %|all)", page) == ["closes all"]


def test_list_states_the_distances_to_stop_and_target(owner: Client, held: Any) -> None:
    ExecutionPosition.objects.filter(pk=held.pk).update(tp="1.37635", tp_number=1)
    page = html_of(owner.get("/positions/"))
    assert "43.9 <small>pips" in page
    assert "target 74.0 pips" in page


def test_page_needs_few_queries_however_much_happened(
    owner: Client, held: ExecutionPosition
) -> None:
    ExecutionLog.objects.bulk_create(
        ExecutionLog(
            signal_id=held.signal_id, connection_id=held.connection_id, code="LEVELS_MOVED",
            detail=f"position {held.pk} by alice: stop {n} to {n + 1}",
        )
        for n in range(200)
    )  # fmt: skip
    with CaptureQueriesContext(connection) as queries:
        page = html_of(owner.get(f"/positions/{held.pk}/"))
    own = [q for q in queries if "SAVEPOINT" not in q["sql"] and "set_config" not in q["sql"]]
    assert len(own) <= 12, "\n".join(q["sql"][:150] for q in own)
    assert "stop 199 to 200 by alice" in page
    assert page.count("The stop or target was moved.") == 60


def test_timeline_leaves_out_other_positions_of_the_signal(
    owner: Client, held: ExecutionPosition
) -> None:
    for pk in (held.pk, held.pk * 10 + 1):
        ExecutionLog.objects.create(
            signal_id=held.signal_id, connection_id=held.connection_id, code="STOP_TRAILED",
            detail=f"position {pk}: stop 1 to {pk}",
        )  # fmt: skip
    page = html_of(owner.get(f"/positions/{held.pk}/"))
    assert page.count("trailing rule moved its stop") == 1


def test_closed_position_has_its_result_and_no_actions(alice: Client, world: World) -> None:
    page = html_of(alice.get(f"/positions/{world.closed.pk}/"))
    assert "Result, net" in page
    assert "−211.50" in page
    assert "Move stop or target" not in page
    assert 'hx-trigger="every 3s"' not in page
    moved = alice.get(f"/positions/{world.closed.pk}/levels/", follow=True)
    assert "The position is closed, so there is nothing to change." in html_of(moved)


def test_account_in_yen_has_no_decimals(world: World, owner: Client, held: Any) -> None:
    type(world.mt5.snapshot).objects.update(currency="JPY")
    ExecutionPosition.objects.update(conversion_rate=D("150.5"))
    page = html_of(owner.get(f"/positions/{held.pk}/"))
    assert re.search(r"−7,284\s+<small>JPY", page)


def test_page_states_what_stands_in_the_way_of_a_close(
    world: World, owner: Client, held: ExecutionPosition
) -> None:
    page = html_of(owner.get(f"/positions/{held.pk}/"))
    assert "A kill switch stops all trading here" not in page
    KillSwitch.objects.create(scope="USER", mode="HALTED", user=world.alice, set_by=world.olga)
    LatestQuote.objects.update(time=market_now() - timedelta(minutes=20))
    type(world.mt5.snapshot).objects.update(position_mode="NETTING")
    ExecutionPosition.objects.filter(pk=held.pk).update(reserved=1000)
    page = html_of(owner.get(f"/positions/{held.pk}/"))
    assert "a close is stored and sent once it is released" in page
    assert "The price is 20 min" in page
    assert "the broker first removes its own stop and target" in page
    assert "1,000 EUR of it is being closed already" in page


def test_page_without_a_price_says_so(owner: Client, held: ExecutionPosition) -> None:
    LatestQuote.objects.all().delete()
    page = html_of(owner.get(f"/positions/{held.pk}/"))
    assert "There is no price now" in page


# ---- levels --------------------------------------------------------------------------------------
def test_levels_are_moved_after_their_effect_was_shown(
    alice: Client, held: ExecutionPosition, enqueued: list[Any],
    django_capture_on_commit_callbacks: Committed,
) -> None:  # fmt: skip
    path = f"/positions/{held.pk}/levels/"
    form = html_of(alice.get(path))
    assert 'value="1.38814"' in form
    assert "Show what will be sent" in form
    with django_capture_on_commit_callbacks(execute=True):
        page, confirmed = preview(alice, path, stop_loss="1.3870", take_profit="1.3700")
    assert "Asks MetaTrader 5 (Main MT5) to move the stop from 1.38814 to 1.387." in page
    assert "−178.40 USD (−0.80 R)" in page
    assert "Fillcast sets the target to 1.37 and monitors it itself." in page
    assert "It counts at once: Fillcast monitors the new level until the broker" in page
    assert (enqueued, ExecutionLog.objects.filter(code="LEVELS_MOVED").count()) == ([], 0)
    with django_capture_on_commit_callbacks(execute=True):
        after = html_of(alice.post(path, confirmed, follow=True))
    assert "The stop is 1.387 and the target 1.37. They count now." in after
    assert "stop 1.38814 to 1.387, target none to 1.37 by alice" in after
    now = stored(held)
    assert (now.sl, now.tp, enqueued) == (D("1.387"), D("1.37"), ["pending actions"])


def test_what_was_typed_after_the_preview_is_shown_first(alice: Client, held: Any) -> None:
    path = f"/positions/{held.pk}/levels/"
    _, confirmed = preview(alice, path, stop_loss="1.3870", take_profit="")
    response = alice.post(path, {**confirmed, "stop_loss": "1.3860"})
    assert response.status_code == 302
    again = html_of(alice.get(response["Location"]))
    assert "from 1.38814 to 1.386." in again
    assert stored(held).sl == D("1.38814")


def test_position_that_changed_in_another_tab_is_shown_first(
    owner: Client, held: ExecutionPosition
) -> None:
    path = f"/positions/{held.pk}/levels/"
    _, confirmed = preview(owner, path, stop_loss="1.3870", take_profit="")
    ExecutionPosition.objects.filter(pk=held.pk).update(sl=D("1.3865"))
    refused = owner.post(path, confirmed)
    assert refused.status_code == 422
    assert "Since you were shown it, the stop was 1.38814 and is 1.3865." in html_of(refused)
    assert stored(held).sl == D("1.3865")
    typed = {"stop_loss": "1.3870", "take_profit": ""}
    page, confirmed = preview(owner, path, **typed)
    assert "from 1.3865 to 1.387." in page
    owner.post(path, confirmed)
    assert stored(held).sl == D("1.387")


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ({"stop_loss": "1.3837"}, "has passed the level"),
        ({"stop_loss": "1.38814", "take_profit": "1.3900"}, "wrong side"),
        ({"stop_loss": ""}, "To leave the position without a stop, tick the box below."),
        ({"stop_loss": "1.38814"}, "there is nothing to change"),
        ({"stop_loss": "1.38380"}, "the broker accepts 0.0005 or more"),
        ({"stop_loss": "abc"}, "is not a plain decimal"),
    ],
)
def test_levels_that_cannot_be_are_refused_with_what_to_do(
    world: World, owner: Client, held: ExecutionPosition, typed: dict[str, str], says: str
) -> None:
    Instrument.objects.update(stops_level=D("0.0005"))
    response = owner.post(f"/positions/{held.pk}/levels/", {"take_profit": "", **typed})
    page = html_of(response)
    assert response.status_code == 422
    assert says in page
    assert f'value="{typed["stop_loss"]}"' in page or not typed["stop_loss"]
    assert stored(held).sl == D("1.38814")


def test_stop_is_removed_only_on_purpose(alice: Client, held: ExecutionPosition) -> None:
    path = f"/positions/{held.pk}/levels/"
    page, confirmed = preview(alice, path, stop_loss="", take_profit="", remove_stop="on")
    assert "to remove the stop at 1.38814." in page
    assert "its loss has no limit" in page
    alice.post(path, confirmed)
    assert stored(held).sl is None


def test_frozen_level_is_stated_to_wait(owner: Client, held: ExecutionPosition) -> None:
    Instrument.objects.update(freeze_level=D("0.005"))
    ExecutionPosition.objects.filter(pk=held.pk).update(broker_sl=D("1.38814"))
    page, _ = preview(owner, f"/positions/{held.pk}/levels/", stop_loss="1.3880", take_profit="")
    assert "The change waits until it has moved away, however long that takes" in page


# ---- break-even ----------------------------------------------------------------------------------
def test_break_even_is_shown_at_once_and_then_moved(
    world: World, owner: Client, held: ExecutionPosition
) -> None:
    LatestQuote.objects.filter(symbol="EUR/USD").update(bid=D("1.3790"), ask=D("1.3791"))
    path = f"/positions/{held.pk}/break-even/"
    page = html_of(owner.get(path))
    assert "to move the stop from 1.38814 to 1.38254." in page
    owner.post(path, {"offset": "", "unit": "", **hidden(page)})
    assert stored(held).sl == D("1.38254")
    again = html_of(owner.get(path))
    assert "The stop is at 1.38254; break-even would be 1.38254." in again


def test_break_even_in_a_loss_is_refused_with_what_to_do(alice: Client, held: Any) -> None:
    page = html_of(alice.get(f"/positions/{held.pk}/break-even/"))
    assert "Wait until the price is beyond it, or close it." in page
    assert stored(held).sl == D("1.38814")


# ---- trailing ------------------------------------------------------------------------------------
def test_trailing_is_set_and_ended(alice: Client, held: ExecutionPosition) -> None:
    path = f"/positions/{held.pk}/trailing/"
    page, confirmed = preview(alice, path, distance="30", step="", activation="", unit="")
    assert "The stop trails 30 pips behind the best price." in page
    assert "At the present price 1.38375 it goes to about 1.38675 at once." in page
    after = html_of(alice.post(path, confirmed, follow=True))
    assert "The stop trails 30 pips behind the best price, from now on." in after
    assert "trails 30 pips behind the best price by alice" in after  # in the timeline
    page, confirmed = preview(
        alice, path, act="END", distance="30", step="", activation="", unit=""
    )
    assert "The stop stays at 1.38814" in page
    alice.post(path, confirmed)
    assert stored(held).sl == D("1.38814")
    assert not StopRule.objects.exists()


def test_trailing_rule_that_changed_in_another_tab_is_shown_first(
    owner: Client, held: ExecutionPosition
) -> None:
    path = f"/positions/{held.pk}/trailing/"
    typed = {"distance": "30", "step": "", "activation": "", "unit": ""}
    _, first = preview(owner, path, **typed)
    _, second = preview(owner, path, **{**typed, "distance": "50"})
    owner.post(path, second)
    refused = owner.post(path, first)
    assert "the trailing rule was none and is trails 50 pips" in html_of(refused)
    assert StopRule.objects.get().trailing_distance == 50


# ---- closing a part ------------------------------------------------------------------------------
def test_part_is_closed_after_rounding_was_shown(
    alice: Client, held: ExecutionPosition, enqueued: list[Any],
    django_capture_on_commit_callbacks: Committed,
) -> None:  # fmt: skip
    path = f"/positions/{held.pk}/close-part/"
    form = html_of(alice.get(path))
    assert "all 40,000 EUR, half 20,000 EUR, a quarter 10,000 EUR" in form
    page, confirmed = preview(alice, path, amount="12500")
    assert "a market order to buy 12,000 EUR" in page
    assert "You asked for 12,500; the broker’s step is 1,000." in page
    assert "28,000 EUR stay open, with stop and target." in page
    assert "−14.52 USD" in page
    with django_capture_on_commit_callbacks(execute=True):
        after = html_of(alice.post(path, confirmed, follow=True))
    assert "12,000 being closed" in after
    closing = Order.objects.get(position_id=held.pk)
    assert (closing.quantity, enqueued) == (12_000, [([closing.pk], "exits")])


def test_same_part_is_not_closed_twice_by_two_tabs(owner: Client, held: ExecutionPosition) -> None:
    path = f"/positions/{held.pk}/close-part/"
    _, confirmed = preview(owner, path, amount="10000")
    owner.post(path, confirmed)
    again = html_of(owner.post(path, confirmed))
    assert "what is being closed was 0 and is 10000" in again
    assert Order.objects.filter(position_id=held.pk).count() == 1


def test_more_than_is_open_is_refused(alice: Client, held: ExecutionPosition) -> None:
    response = alice.post(f"/positions/{held.pk}/close-part/", {"amount": "40001"})
    assert response.status_code == 422
    assert "40000 is open and not being closed already." in html_of(response)


def test_action_on_an_account_with_a_long_arabic_name(
    world: World, owner: Client, held: ExecutionPosition
) -> None:
    name = "حساب " * 10
    type(world.mt5).objects.filter(pk=world.mt5.pk).update(name=name)
    page = html_of(owner.get(f"/positions/{held.pk}/"))
    assert f'dir="auto">{name}' in page


# ---- closing -------------------------------------------------------------------------------------
def test_close_states_sizes_after_rounding_and_what_stands_in_its_way(
    world: World, owner: Client, held: ExecutionPosition
) -> None:
    KillSwitch.objects.create(scope="USER", mode="HALTED", user=world.alice, set_by=world.olga)
    page = html_of(owner.get(f"/positions/{held.pk}/close/"))
    assert "all 40,000 EUR, half 20,000 EUR, a quarter 10,000 EUR" in page
    assert "a close is stored and sent once it is released" in page
    of_all = html_of(owner.get("/positions/close-all/"))
    assert "A kill switch stops the exits of 3 of them" in of_all


def test_close_of_a_position_that_changed_is_asked_again(
    owner: Client, held: ExecutionPosition
) -> None:
    path = f"/positions/{held.pk}/close/"
    owner.get(path)
    ExecutionPosition.objects.filter(pk=held.pk).update(quantity=D(30_000))
    refused = owner.post(path, {"fraction": "1", "shown": "40000"})
    page = html_of(refused)
    assert refused.status_code == 422
    assert "what can be closed was 40000 and is 30000." in page
    assert 'name="shown" value="30000"' in page
    assert not Order.objects.filter(position_id=held.pk).exists()
    owner.post(path, {"fraction": "1", "shown": "30000"})
    assert Order.objects.get(position_id=held.pk).quantity == 30_000
