"""A web service that decides: it hangs, lies, answers twice or late. Its journal is compared."""

import json
from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

import pytest
from pytest_django import Settings

from common.db.sql import database_now, run
from common.sealing import new_private_key
from connections.models import DecisionProvider, ExecutionConnection
from execution.decision_step import asking, http_provider
from execution.decision_step.questions import load_asked
from execution.decision_step.types import Failure
from execution.models import EntryDecision, Order
from execution.services import cancel_order
from signals.models import Feed
from tests.connections import make
from tests.decisions import service_at
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.fakes.decision_service import DecisionService, factor
from tests.operational import set_setting
from users.services import create_api_key, revoke_api_key

pytestmark = pytest.mark.django_db


@pytest.fixture
def provider(service: DecisionService, db: None) -> DecisionProvider:
    return service_at(service.url, timeout_seconds=D(5))


@pytest.fixture
def accounts(
    feed: Feed, broker: FakeBroker, provider: DecisionProvider
) -> list[ExecutionConnection]:
    return [factories.account(feed, preset_decision_provider=provider) for _ in range(2)]


def waiting(feed: Feed, **fields: Any) -> list[int]:
    """Publish a signal, and return its orders, which wait for a decision."""
    signal = factories.signal(feed, **fields)
    factories.claim_all()
    orders = Order.objects.filter(signal=signal, reason="DECISION_AWAITED").order_by("id")
    return list(orders.values_list("id", flat=True))


def kept() -> list[tuple[D | None, str, str]]:
    rows = EntryDecision.objects.order_by("order_id")
    return list(rows.values_list("factor", "failure", "reason"))


@pytest.mark.usefixtures("accounts")
def test_bundle_is_asked_about_in_one_signed_request(
    feed: Feed, service: DecisionService, provider: DecisionProvider
) -> None:
    service.answer = factor("0.5", "thin market")
    ids = waiting(feed, targets=[("1.20000", "1")])
    assert asking.ask_provider(provider.pk, ids) == ids
    assert (service.order_ids(), service.forged) == ([ids], 0)
    [request] = service.journal
    entry = request["entries"][0]
    assert (request["version"], entry["symbol"], entry["side"]) == (1, "EUR/USD", "BUY")
    assert (entry["stop_loss"], entry["targets"], entry["equity"]) == ("1.09", ["1.2"], "10000")
    market = entry["market"]
    assert (market["bid"], market["ask"], market["spread"]) == ("1.0999", "1.1", "0.0001")
    assert (market["atr"], market["spread_percentile"]) == (None, None)
    assert kept() == [(D("0.5"), "", "thin market")] * 2
    factories.claim_all()
    assert set(Order.objects.values_list("status", "quantity")) == {("SUBMITTING", D(50))}
    stored = EntryDecision.objects.first()
    assert stored is not None
    assert (stored.provider_name, stored.market["ask"]) == ("My model", "1.1")
    assert stored.asked_at < stored.answered_at
    assert 0 <= stored.latency_ms < 5000


def test_secret_is_stored_encrypted(provider: DecisionProvider) -> None:
    from connections.credentials.provider_secrets import open_secret
    from tests.decisions import SECRET

    sealed = bytes(provider.secret_sealed or b"")
    assert SECRET.encode() not in sealed
    assert open_secret(provider) == SECRET.encode()


def decisions(*items: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda request: {"request_id": request["request_id"], "decisions": list(items)}


def first_id(request: dict[str, Any]) -> int:
    return int(request["entries"][0]["order_id"])


def both(request: dict[str, Any], **of_first: Any) -> dict[str, Any]:
    body: dict[str, Any] = factor("1")(request)
    body["decisions"][0] |= of_first
    return body


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (lambda r: b"not JSON", "BAD_ANSWER"),
        (lambda r: b"", "BAD_ANSWER"),
        (lambda r: b'{"request_id": "a", "request_id": "b"}', "BAD_ANSWER"),
        (lambda r: b"\xff\xfe", "BAD_ANSWER"),
        (lambda r: b"[" * 5000, "BAD_ANSWER"),
        (lambda r: [], "BAD_ANSWER"),
        (lambda r: {"request_id": r["request_id"]}, "BAD_ANSWER"),
        (lambda r: factor("1")(r) | {"request_id": "another"}, "BAD_ANSWER"),
        (lambda r: decisions({"order_id": 999999, "factor": "1"})(r), "BAD_ANSWER"),
        (lambda r: decisions({"order_id": "x", "factor": "1"})(r), "BAD_ANSWER"),
        (lambda r: decisions(7)(r), "BAD_ANSWER"),
        (lambda r: decisions(*[{"order_id": first_id(r), "factor": "1"}] * 2)(r), "BAD_ANSWER"),
        (lambda r: both(r, reason="\ud800"), "BAD_ANSWER"),
        (lambda r: b" " * 80_000, "TOO_LARGE"),
        (lambda r: decisions()(r), "MISSING"),
    ],
)  # fmt: skip
def test_answer_that_is_wrong_as_a_whole_decides_nothing(
    feed: Feed, service: DecisionService, provider: DecisionProvider, answer: Any, failure: str
) -> None:
    service.answer = answer
    ids = waiting(feed)
    assert asking.ask_provider(provider.pk, ids) == ids
    assert kept() == [(None, failure, "")] * 2
    factories.claim_all()
    assert set(Order.objects.values_list("reason", flat=True)) == {"DECISION_UNAVAILABLE"}


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize(
    "wrong",
    ["7", 7, "NaN", float("nan"), "-1", "3.0000001", "1e0", "", None, True, [], "0x1", "１"],
)
def test_wrong_factor_concerns_its_entry_alone(
    feed: Feed, service: DecisionService, provider: DecisionProvider, wrong: Any
) -> None:
    service.answer = lambda request: both(request, factor=wrong)
    asking.ask_provider(provider.pk, waiting(feed))
    assert kept() == [(None, "BAD_FACTOR", ""), (D(1), "", "because")]


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize("right", ["0", 0, 3, "3", 0.25, "2.999999999"])
def test_factors_are_texts_or_numbers(
    feed: Feed, service: DecisionService, provider: DecisionProvider, right: Any
) -> None:
    service.answer = lambda request: both(request, factor=right, reason="a\nb")
    asking.ask_provider(provider.pk, waiting(feed))
    assert kept()[0] == (D(str(right)), "", "a b")


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize(
    ("status", "headers", "failure"),
    [
        (500, {}, "BAD_STATUS"), (204, {}, "BAD_STATUS"),
        (302, {"Location": "http://127.0.0.1:1/"}, "BAD_STATUS"),
        (200, {"Content-Encoding": "gzip"}, "BAD_ANSWER"),
    ],
)  # fmt: skip
def test_other_answers_than_200_are_failures(
    feed: Feed, service: DecisionService, provider: DecisionProvider, status: int,
    headers: dict[str, str], failure: str,
) -> None:  # fmt: skip
    service.status, service.headers = status, headers
    asking.ask_provider(provider.pk, waiting(feed))
    assert [row[1] for row in kept()] == [failure] * 2
    assert len(service.journal) == 1


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize("way", ["hangs", "drips"])
def test_service_that_does_not_end_its_answer_times_out(
    feed: Feed, service: DecisionService, provider: DecisionProvider, way: str
) -> None:
    setattr(service, way, True)
    DecisionProvider.objects.update(timeout_seconds=D("0.3"))
    asking.ask_provider(provider.pk, waiting(feed))
    assert [row[1] for row in kept()] == ["TIMEOUT"] * 2
    stored = EntryDecision.objects.first()
    assert stored is not None
    assert 290 <= stored.latency_ms < 4000


@pytest.mark.usefixtures("accounts")
def test_service_that_is_down_is_unreachable(feed: Feed, provider: DecisionProvider) -> None:
    DecisionProvider.objects.update(url="http://127.0.0.1:1/decide?token=canary")
    asking.ask_provider(provider.pk, waiting(feed))
    assert [row[1] for row in kept()] == ["UNREACHABLE"] * 2
    assert not EntryDecision.objects.filter(detail__contains="canary").exists()


@pytest.mark.usefixtures("accounts")
def test_private_address_is_not_asked(
    feed: Feed, service: DecisionService, provider: DecisionProvider, settings: Settings
) -> None:
    set_setting("networks.outbound_networks", ())
    asking.ask_provider(provider.pk, waiting(feed))
    assert [row[1] for row in kept()] == ["HOST_NOT_ALLOWED"] * 2
    assert service.journal == []


@pytest.mark.usefixtures("accounts")
def test_secret_that_does_not_open_is_a_failure(
    feed: Feed, service: DecisionService, provider: DecisionProvider, settings: Settings
) -> None:
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (new_private_key(),)
    asking.ask_provider(provider.pk, waiting(feed))
    assert [row[1] for row in kept()] == ["ERROR"] * 2
    assert service.journal == []


@pytest.mark.usefixtures("accounts")
def test_answer_to_an_earlier_question_changes_nothing(
    feed: Feed, service: DecisionService, provider: DecisionProvider
) -> None:
    ids = waiting(feed)
    early = load_asked(provider.pk, ids)
    assert early is not None
    asking.ask_provider(provider.pk, ids)  # asked later, and answered first
    late = http_provider.read_answer(
        json.dumps(factor("3")({"request_id": "r", "entries": service.journal[0]["entries"]}))
        .encode(), "r", set(ids), 10_000,
    )  # fmt: skip
    assert asking.store(early, late, 1) == []
    assert [row[0] for row in kept()] == [1, 1]


@pytest.mark.usefixtures("accounts")
def test_answer_after_an_order_was_sent_changes_nothing(
    feed: Feed, service: DecisionService, provider: DecisionProvider
) -> None:
    """Another process has asked, too, and is answered later: the order keeps what decided it."""
    ids = waiting(feed)
    asking.ask_provider(provider.pk, ids)
    later = load_asked(provider.pk, ids)
    assert later is not None
    factories.claim_all()
    late = http_provider.read_answer(
        json.dumps(factor("3")({"request_id": "r", "entries": service.journal[0]["entries"]}))
        .encode(), "r", set(ids), 10_000,
    )  # fmt: skip
    assert asking.store(later, late, 1) == []
    assert [row[0] for row in kept()] == [1, 1]


@pytest.mark.usefixtures("accounts")
def test_asking_again_counts_and_replaces_the_answer(
    feed: Feed, service: DecisionService, provider: DecisionProvider
) -> None:
    ids = waiting(feed)
    asking.ask_provider(provider.pk, ids)
    run("UPDATE execution_entrydecision SET asked_at = asked_at - interval '11 s'")
    factories.claim_all()  # too old
    assert set(Order.objects.values_list("reason", flat=True)) == {"DECISION_AWAITED"}
    service.answer = factor("2")
    asking.ask_provider(provider.pk, ids)
    stored = EntryDecision.objects.values_list("factor", "asked_count")
    assert list(stored) == [(D(2), 2)] * 2
    assert EntryDecision.objects.filter(asked_at__lt=database_now()).count() == 2


@pytest.mark.usefixtures("accounts")
def test_orders_that_do_not_wait_are_not_asked_about(
    feed: Feed, service: DecisionService, provider: DecisionProvider
) -> None:
    first, second = waiting(feed)
    cancel_order(first)
    assert asking.ask_provider(provider.pk, [first, 0]) == []
    assert service.journal == []
    assert asking.ask_provider(provider.pk, [first, second]) == [second]
    assert service.order_ids() == [[second]]


def test_preset_that_may_not_use_a_provider_gets_no_answer(
    feed: Feed, broker: FakeBroker, service: DecisionService
) -> None:
    provider = service_at(service.url, user=make.user("mallory"))
    factories.account(feed, preset_decision_provider=provider)
    asking.ask_provider(provider.pk, waiting(feed))
    assert kept() == [(None, Failure.NOT_ALLOWED, "")]
    assert service.journal == []


@pytest.mark.usefixtures("accounts")
def test_service_that_a_revoked_key_named_is_not_asked(
    feed: Feed, service: DecisionService, provider: DecisionProvider
) -> None:
    """A thief of the key would go on seeing balances and scaling entries."""
    service.answer = factor("3")
    key, _ = create_api_key(make.user("alice"), "robot")
    DecisionProvider.objects.update(made_with=key)
    asking.ask_provider(provider.pk, waiting(feed))
    revoke_api_key(key.pk)
    asking.ask_provider(provider.pk, waiting(feed))
    assert [row[:2] for row in kept()] == [(D(3), "")] * 2 + [(None, "KEY_ENDED")] * 2
    assert len(service.journal) == 1
