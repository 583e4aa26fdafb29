"""Presets: the list, create and copy, the review of a change, two tabs, the example in money."""

import html
import re
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from common.clocks import market_now
from common.models import TrailLine
from connections import services
from connections.models import (
    SIZE_FIELDS,
    ExecutionConnection,
    LossLimit,
    SizingMode,
    TradingPreset,
)
from connections.services import PRESET_FIELDS, preset_version
from execution.models import Order
from portal.preset_forms import LABELS, RULES, SECTIONS, SENTENCES, PresetForm
from prices.models import LatestQuote
from tests.connections import make
from tests.html import html_of
from tests.loss_limits import limit_of
from tests.portal.conftest import SignedIn, as_web_process
from tests.portal.factories import World, order

D = Decimal
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("world")]


@pytest.fixture
def alice(world: World, signed_in: SignedIn) -> Client:
    return as_web_process(signed_in(world.alice))


@pytest.fixture
def book(world: World) -> None:
    """Let the broker of Alice's paper account list EUR/USD in steps of a micro lot, and a coin."""
    ExecutionConnection.objects.filter(pk=world.twin.pk).update(instrument_book="paper")
    make.instrument(
        "EURUSD", "EUR/USD", book="paper", digits=5, pip=D("0.0001"), quantity_min=D(1000),
        quantity_step=D(1000), quantity_max=D(50_000_000), contract_size=D(100_000),
    )  # fmt: skip
    make.instrument(
        "BTCUSD", "BTC/USD", book="paper", digits=2, pip=D("0.01"), quantity_min=D("0.001"),
        quantity_step=D("0.001"), quantity_max=D(1000), contract_size=D(1),
    )  # fmt: skip
    LatestQuote.objects.create(
        data_connection=world.prices, symbol="BTC/USD", bid=D(64_320), ask=D(64_325),
        time=market_now(),
    )  # fmt: skip


def text_of(answer: Any) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", html_of(answer))))


def filled(world: World, preset: TradingPreset, **values: Any) -> dict[str, Any]:
    """Return what a browser sends for the preset's form with these values typed."""
    form = PresetForm(world.alice, preset, is_change=bool(preset.pk))
    sent: dict[str, Any] = {"seen": preset_version(preset) if preset.pk else ""}
    for name in form.fields:
        bound = form[name]
        shown = bound.value()
        if shown in (None, False):
            shown = ""
        sent[name] = sent[f"initial-{name}"] = shown
        if sent[name] == "":
            del sent[name]
    sent |= {"example_pair": "EUR/USD", "example_stop": "30", "example_side": "BUY"}
    return sent | {name: value for name, value in values.items() if value is not None}


def test_every_field_of_a_preset_is_on_the_form_with_a_sentence() -> None:
    on_form = {"name", *(name for section in SECTIONS for name in section.names)}
    assert on_form == set(PRESET_FIELDS)
    columns = {column.name: column for column in TradingPreset._meta.concrete_fields}
    for name in on_form - {"name"}:
        assert LABELS[name][0]
        assert (SENTENCES.get(name) or columns[name].help_text).endswith("."), name


def test_each_sizing_field_names_the_rules_that_use_it(world: World, alice: Client) -> None:
    assert set(SECTIONS[0].names) - set(RULES) == {
        "sizing_mode",
        "multiplier",
        "allow_minimum_quantity",
    }
    for mode in SizingMode:
        used = {name for name, modes in RULES.items() if mode in modes}
        assert set(SIZE_FIELDS.get(mode, ())) <= used
    shown = html_of(alice.get("/presets/new/"))
    tags = {tag["name"]: tag for tag in map(attributes, re.findall(r"<input[^>]*>", shown))}
    assert tags["risk_percent"]["data-rules"] == "RISK_PERCENT"
    assert tags["fixed_quantity"]["data-rules"] == "FIXED PER_BALANCE"
    assert "RISK_CATEGORY" not in tags["small_multiplier"]["data-rules"].split()
    assert "data-rules" not in tags["multiplier"]
    assert "portal/preset" in shown, "the script that shows only the fields of the chosen rule"
    assert not re.findall(r'class="fc-field"[^>]*hidden', shown), "without it, all are shown"


def attributes(tag: str) -> dict[str, str]:
    found = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
    return {"name": "", **found}


def test_the_list_shows_own_and_shared_ones_and_their_use(world: World, alice: Client) -> None:
    content = text_of(alice.get("/presets/"))
    assert "Careful 1 % of equity at risk" in content
    assert "1 % at risk shared" in content
    assert "Main MT5" in content
    assert "Bob" not in content  # another tenant's account uses the shared one


def test_a_shared_preset_is_copied_and_assigned(world: World, alice: Client) -> None:
    assert "1 % at risk (copy)" in html_of(alice.get(f"/presets/new/?from={world.preset.pk}"))
    start = TradingPreset.objects.get(pk=world.preset.pk)
    start.pk = None
    typed = filled(world, start, name="Mine", risk_percent="0.5")
    answer = alice.post(f"/presets/new/?from={world.preset.pk}", typed)
    created = TradingPreset.objects.get(name="Mine")
    assert answer.headers["Location"] == f"/presets/{created.pk}/assign/"
    assert (created.user, created.risk_percent) == (world.alice, D("0.5"))
    assert TradingPreset.objects.get(pk=world.preset.pk).risk_percent == D(1)
    page = text_of(alice.get(f"/presets/{created.pk}/assign/"))
    assert "2 open positions" in page or "open position" in page
    alice.post(f"/presets/{created.pk}/assign/", {"account": str(world.twin.pk)})
    world.twin.refresh_from_db()
    assert world.twin.preset == created


def test_loss_limits_are_copied_with_a_shared_preset(world: World, alice: Client) -> None:
    LossLimit.objects.filter(preset=world.preset).delete()
    limit_of(world.preset, maximum=D(4), action="PAUSE_AND_CLOSE")
    limit_of(world.preset, measure="LOSING_STREAK", unit="TRADES", maximum=D(3))
    equity = "Fall of the equity from its first value in the trading day: at 4 %, pause entries and"
    assert equity in text_of(alice.get("/presets/"))
    shown = text_of(alice.get(f"/presets/new/?from={world.preset.pk}"))
    assert "copied with the preset" in shown
    assert equity in shown
    start = TradingPreset.objects.get(pk=world.preset.pk)
    start.pk = None
    alice.post(f"/presets/new/?from={world.preset.pk}", filled(world, start, name="Mine"))
    created = TradingPreset.objects.get(name="Mine")
    copied = created.loss_limits.values_list("measure", "maximum", "action")
    assert list(copied) == [("EQUITY", D(4), "PAUSE_AND_CLOSE"), ("LOSING_STREAK", D(3), "PAUSE")]
    assert equity in text_of(alice.get(f"/presets/{created.pk}/assign/"))
    edit = html_of(alice.get(f"/presets/{created.pk}/edit/"))
    for limit in created.loss_limits.all():
        assert f"/loss-limits/{limit.pk}/edit/" in edit
        assert f"/loss-limits/{limit.pk}/remove/" in edit
    assert LossLimit.objects.filter(preset=world.preset).count() == 2


def test_loss_limit_is_added_to_a_preset_that_no_account_uses(world: World, alice: Client) -> None:
    preset = TradingPreset.objects.create(name="Mine", user=world.alice, risk_percent=D(1))
    address = f"/presets/{preset.pk}/loss-limit/"
    edit = alice.get(f"/presets/{preset.pk}/edit/")
    assert address in html_of(edit)
    assert "no loss pauses the accounts that use this preset" in text_of(edit)
    assert "Nothing is open or waits there now." in text_of(alice.get(address))
    typed = {"window": "DATE", "measure": "EQUITY", "basis": "OPENING", "maximum": "5",
             "unit": "PERCENT", "action": "PAUSE", "resume": "NEXT_WINDOW"}  # fmt: skip
    wrong = alice.post(address, {**typed, "unit": "TRADES"})
    assert wrong.status_code == 422
    added = alice.post(address, typed)
    assert added.headers["Location"] == f"/presets/{preset.pk}/edit/#h-loss"
    assert preset.loss_limits.get().maximum == D(5)
    assert alice.get(f"/presets/{world.preset.pk}/loss-limit/").status_code == 404
    again = alice.post(address, typed)
    assert (again.status_code, preset.loss_limits.count()) == (422, 1)


def test_presets_of_others_cannot_be_copied_or_changed(world: World, alice: Client) -> None:
    assert alice.get(f"/presets/new/?from={world.bobs_preset.pk}").status_code == 404
    assert alice.get(f"/presets/{world.preset.pk}/edit/").status_code == 404  # the operators'
    assert alice.post("/presets/example/", {"preset": world.bobs_preset.pk}).status_code == 404


def test_all_faults_are_beside_their_fields_at_once(world: World, alice: Client) -> None:
    typed = filled(
        world, world.own_preset, risk_percent="120", max_open_positions="0", max_leverage="x",
        trading_sessions="MON 25:00", sizing_mode="RISK_AMOUNT", trading_day_zone="Mars",
    )  # fmt: skip
    answer = alice.post(f"/presets/{world.own_preset.pk}/edit/", typed)
    content = html_of(answer)
    assert answer.status_code == 422
    for name in ("risk_percent", "max_open_positions", "max_leverage", "trading_sessions",
                 "risk_amount", "trading_day_zone"):  # fmt: skip
        assert f'id="id_{name}_error"' in content, name
    assert 'value="120"' in content  # what was typed stays
    world.own_preset.refresh_from_db()
    assert world.own_preset.sizing_mode == "RISK_PERCENT"


def use(world: World) -> None:
    ExecutionConnection.objects.filter(pk__in=(world.mt5.pk, world.ibkr.pk)).update(
        preset=world.own_preset
    )


def test_what_changes_for_open_orders_is_stated_before_saving(world: World, alice: Client) -> None:
    use(world)
    pending: dict[str, Any] = {"submitted_at": None}
    order(world.ibkr, world.bobs_signal, "PENDING", **pending)
    held = order(world.mt5, world.bobs_signal, "PENDING", **pending)
    Order.objects.filter(pk=held.pk).update(reason="AWAITING_TRIGGER")
    address = f"/presets/{world.own_preset.pk}/edit/"
    typed = filled(world, world.own_preset, risk_percent="0.5")
    review = alice.post(address, typed)
    shown = text_of(review)
    assert review.status_code == 200
    assert "Risk of a trade, % of equity 1 → 0.5" in shown
    assert "2 open positions (IBKR, Main MT5): size, stop and targets stay." in shown
    assert "1 working order at the broker (IBKR): not changed" in shown
    assert "1 entry that waits to be sent (IBKR): sized and checked by the new values" in shown
    assert "1 order that Fillcast holds (Main MT5): sized and checked again" in shown
    world.own_preset.refresh_from_db()
    assert world.own_preset.risk_percent == D(1)  # nothing is saved yet
    again = alice.post(address, {**typed, "again": "1"})
    assert 'value="0.5"' in html_of(again)
    assert alice.post(address, {**typed, "confirmed": "1"}).status_code == 302
    world.own_preset.refresh_from_db()
    assert world.own_preset.risk_percent == D("0.5")


def test_the_second_of_two_tabs_keeps_what_it_typed(world: World, alice: Client) -> None:
    use(world)
    address = f"/presets/{world.own_preset.pk}/edit/"
    first = filled(world, world.own_preset, risk_percent="0.5", confirmed="1")
    second = filled(world, world.own_preset, max_leverage="10", confirmed="1")
    assert alice.post(address, first).status_code == 302
    late = alice.post(address, second)
    assert late.status_code == 422
    assert "changed meanwhile" in text_of(late)
    world.own_preset.refresh_from_db()
    assert world.own_preset.limits.max_leverage == D(30)
    seen = re.search(r'name="seen" value="([0-9a-f]+)"', html_of(late))
    assert seen
    saved = alice.post(address, {**second, "seen": seen[1]})
    assert saved.status_code == 302
    world.own_preset.refresh_from_db()
    assert (world.own_preset.limits.max_leverage, world.own_preset.risk_percent) == (
        D(10),
        D("0.5"),
    )


def test_changes_are_in_the_audit_trail(world: World, alice: Client) -> None:
    before = TrailLine.objects.count()
    typed = filled(world, world.own_preset, risk_percent="0.5")
    assert alice.post(f"/presets/{world.own_preset.pk}/edit/", typed).status_code == 302
    assert TrailLine.objects.count() > before


def test_an_unused_preset_is_removed_and_a_used_one_is_not(world: World, alice: Client) -> None:
    use(world)
    address = f"/presets/{world.own_preset.pk}/remove/"
    assert "It is used by IBKR, Main MT5" in text_of(alice.post(address, follow=True))
    ExecutionConnection.objects.update(preset=world.preset)
    alice.post(address)
    assert not TradingPreset.objects.filter(pk=world.own_preset.pk).exists()


@pytest.mark.usefixtures("book")
class TestExample:
    """An example in money: the engine's own rules on the account of 10,035.80 USD."""

    def shown(self, world: World, client: Client, **values: Any) -> str:
        typed = filled(world, world.own_preset, **values)
        typed |= {"preset": world.own_preset.pk, "example_account": str(world.twin.pk)}
        answer = client.post("/presets/example/", typed)
        assert answer.status_code == 200
        return text_of(answer)

    def test_percent_at_risk(self, world: World, alice: Client) -> None:
        # 100.358 / (30 pips of 0.0001) = 33,452.67 units, in steps of 1,000
        shown = self.shown(world, alice)
        assert "1 % of equity at risk and a stop of 30 pips: 0.33 lots (33,000 EUR)" in shown
        assert "risk 99.00 USD , 0.99 % of equity" in shown
        assert "Calculated 33,452.67, rounded down to the step of 1,000" in shown
        assert "balance 10,035.80 USD" in shown

    def test_it_is_the_price_of_the_side(self, world: World, alice: Client) -> None:
        assert "Price now 1.38375, stop 1.38075" in self.shown(world, alice)
        shown = self.shown(world, alice, example_side="SELL")
        assert "Price now 1.38372, stop 1.38672" in shown

    def test_a_coin_has_basis_points_and_the_digits_of_its_step(
        self, world: World, alice: Client
    ) -> None:
        shown = self.shown(world, alice, example_pair="BTC/USD", example_stop="500")
        # 100.358 / (5 % of 64,325) = 0.0312034, in steps of 0.001
        assert "a stop of 500 basis points: " in shown
        assert "(0.031 BTC)" in shown
        assert "Calculated 0.0312, rounded down to the step of 0.001" in shown

    def test_what_is_denied_is_shown_with_its_figures(self, world: World, alice: Client) -> None:
        shown = self.shown(world, alice, max_quantity="20000")
        assert "Nothing would be sent" in shown
        assert "Quantity: 33,000 EUR, maximum 20,000 EUR" in shown
        assert "MAX_QUANTITY" in shown
        small = self.shown(world, alice, risk_percent="0.01")
        assert "QUANTITY_BELOW_MINIMUM" in small

    def test_without_a_stop_a_risk_cannot_be_sized(self, world: World, alice: Client) -> None:
        assert "STOP_REQUIRED" in self.shown(world, alice, example_stop="")

    def test_what_cannot_be_calculated_is_named(self, world: World, alice: Client) -> None:
        assert "Correct these first: Risk of a trade" in self.shown(world, alice, risk_percent="x")
        assert "SYMBOL_NOT_AT_BROKER" in self.shown(world, alice, example_pair="GBPUSD")
        assert "not a known symbol" in self.shown(world, alice, example_pair="???")

    def test_nothing_is_written(self, world: World, alice: Client) -> None:
        count = Order.objects.count()
        self.shown(world, alice, risk_percent="0.5")
        world.own_preset.refresh_from_db()
        assert (Order.objects.count(), world.own_preset.risk_percent) == (count, D(1))

    def test_another_tenants_account_is_no_choice(self, world: World, alice: Client) -> None:
        typed = filled(world, world.own_preset, example_account=str(world.bobs.pk))
        shown = text_of(alice.post("/presets/example/", typed))
        assert "100.00" not in shown
        assert "Bob" not in shown


def test_the_example_states_what_it_needs(world: World, signed_in: SignedIn) -> None:
    assert "Add an account" in text_of(signed_in(world.nora).get("/presets/new/"))


def test_preset_that_was_removed_meanwhile_is_answered_404(
    world: World, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the other click of a double click, between the page's look and the lock."""
    row = make.preset(world.alice)
    remove = services.delete_preset

    def twice(pk: int, **kwargs: Any) -> None:
        remove(pk, **kwargs)
        remove(pk, **kwargs)

    monkeypatch.setattr(services, "delete_preset", twice)
    assert alice.post(f"/presets/{row.pk}/remove/").status_code == 404
    assert TradingPreset.objects.filter(pk=row.pk).exists()  # the request was rolled back
