"""The pure parts of push messages: encryption, content, labels."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.urls import resolve
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from common.web.user_agents import browser_label
from events import push, push_keys
from events.context import EventContext
from events.messages import Message
from events.models import EventKind
from events.push_content import MAX_BYTES, content_of, page_of
from events.push_encryption import OVERHEAD_BYTES, RECORD_BYTES, encrypt
from tests.fakes.push_service.service import BrowserSubscription, unb64
from tests.operational import set_setting

CONNECTION, OTHER = UUID(int=10), UUID(int=11)

AT = datetime(2026, 11, 25, tzinfo=UTC)


def event(
    kind: str, *, connection_id: UUID | None = None, signal_id: int | None = None,
    order_id: int | None = None, payload: dict[str, Any] | None = None,
) -> EventContext:  # fmt: skip
    return EventContext(1, kind, 1, connection_id, signal_id, order_id, payload or {}, AT)


def test_encryption_gives_the_example_of_the_standard() -> None:
    """RFC 8291 §5."""
    sender = int.from_bytes(unb64("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"), "big")
    body = encrypt(
        b"When I grow up, I want to be a watermelon",
        browser_key=unb64(
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
        ),
        auth_secret=unb64("BTBZMqHH6r4Tts7J_aSIgg"),
        salt=unb64("DGv6ra1nlYgDCS1FRnbzlw"),
        sender=ec.derive_private_key(sender, ec.SECP256R1()),
    )
    assert push_keys.encoded(body) == (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS"
        "6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qu"
        "lcy4a-fN"
    )


@given(st.binary(max_size=RECORD_BYTES - OVERHEAD_BYTES))
def test_browser_decrypts_what_was_encrypted_for_it(payload: bytes) -> None:
    browser = BrowserSubscription("https://example.com/", "")
    first, second = (
        encrypt(payload, browser_key=unb64(browser.p256dh), auth_secret=unb64(browser.auth))
        for _ in range(2)
    )
    assert browser.decrypt(first) == browser.decrypt(second) == payload
    assert first[:16] != second[:16]
    assert len(first) == len(payload) + OVERHEAD_BYTES <= RECORD_BYTES


def test_payload_of_more_than_one_record_is_refused() -> None:
    browser = BrowserSubscription("https://example.com/", "")
    with pytest.raises(ValueError, match="too many"):
        encrypt(bytes(4_000), browser_key=unb64(browser.p256dh), auth_secret=unb64(browser.auth))


@given(st.text(max_size=300), st.text(max_size=6_000))
def test_every_text_fits(title: str, body: str) -> None:
    content = content_of([event(EventKind.ORDER_FILLED)], Message(title, body), uid="m",
                         is_operator=False)  # fmt: skip
    assert len(content.payload()) <= MAX_BYTES


@pytest.mark.parametrize("is_operator", [False, True])
def test_click_opens_a_page_that_exists(is_operator: bool) -> None:
    about: dict[str, dict[str, Any]] = {
        "position": {"payload": {"position": 3}}, "signal": {"signal_id": 4},
        "order": {"signal_id": 4, "order_id": 5}, "account": {"connection_id": CONNECTION},
        "nothing": {}, "own": {"payload": {"page": "/security/"}},
    }  # fmt: skip
    pages = {
        name: page_of([event(EventKind.ORDER_FILLED, **facts)], is_operator=is_operator)
        for name, facts in about.items()
    }
    for page in pages.values():
        assert resolve(page).url_name, page
    assert len(set(pages.values())) == (6 if is_operator else 5)  # a tenant's order: its signal
    assert pages["own"] == "/security/"


def test_click_on_several_subjects_opens_the_inbox() -> None:
    both = [event(EventKind.ORDER_FILLED, signal_id=1), event(EventKind.ORDER_FILLED, signal_id=2)]
    assert page_of(both, is_operator=False) == "/inbox/"
    assert page_of(both[:1] * 2, is_operator=False) == "/signals/1/"


def test_click_never_leads_to_another_site() -> None:
    there = event(EventKind.ORDER_FILLED, payload={"page": "//example.com/"})
    assert page_of([there], is_operator=False) == "/inbox/"


@pytest.mark.parametrize("kind", EventKind.values)
def test_every_kind_has_terms(kind: str) -> None:
    content = content_of([event(EventKind(kind))], Message("t", "b"), uid="m", is_operator=False)
    assert 300 <= content.ttl <= 3 * 86_400
    assert content.urgency in {"low", "normal", "high"}
    assert len(content.topic) in (0, 32)


def test_topic_is_of_one_subject_and_of_one_event() -> None:
    def topic(*events: EventContext) -> str:
        return content_of(events, Message("", ""), uid="m", is_operator=False).topic

    failed = event(EventKind.CONNECTION_ERROR, connection_id=CONNECTION)
    works = event(EventKind.CONNECTION_RECOVERED, connection_id=CONNECTION)
    other = event(EventKind.CONNECTION_ERROR, connection_id=OTHER)
    assert topic(failed) == topic(works) != topic(other)
    assert topic(failed, works) == ""
    assert topic(event(EventKind.ORDER_FILLED)) == ""


@pytest.mark.parametrize(
    ("agent", "label"),
    [
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
         "Chrome/142.0.0.0 Safari/537.36", "Chrome on Windows"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
         "Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0", "Edge on Windows"),
        ("Mozilla/5.0 (Linux; Android 15; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) "
         "SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
         "Samsung Internet on Android"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
         "Firefox on Linux"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
         "Gecko) Version/18.5 Mobile/15E148 Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
         "Version/18.5 Safari/605.1.15", "Safari on Mac"),
        ("curl/8.0", "A browser"),
        ("", "A browser"),
    ],
)  # fmt: skip
def test_browser_is_named_by_its_user_agent(agent: str, label: str) -> None:
    assert browser_label(agent) == label


@given(st.binary(max_size=100))
def test_base64url_is_read_back(raw: bytes) -> None:
    assert push_keys.decoded(push_keys.encoded(raw)) == raw


def test_derived_key_is_valid_and_stays() -> None:
    first, second = (push_keys.derived_private_key("secret") for _ in range(2))
    assert first == second != push_keys.derived_private_key("other")
    assert len(push_keys.public_key_of(first)) == 65


def test_click_on_a_fill_opens_its_page_though_its_position_is_in_the_message() -> None:
    fill = replace(
        event(EventKind.ORDER_FILLED, signal_id=7), facts={"position": "5", "leg": "entry"}
    )
    opened = replace(event(EventKind.POSITION_OPENED, payload={"position": 5}), id=2)
    content = content_of([fill, opened], Message("t", "b"), uid="m", is_operator=False)
    assert content.page == "/signals/7/"
    exit_fill = replace(fill, facts={"position": "5", "leg": "sl"})
    closed = replace(opened, kind=EventKind.POSITION_CLOSED)
    content = content_of([exit_fill, closed], Message("t", "b"), uid="m", is_operator=False)
    assert content.page == "/positions/5/"


def test_services_reach_the_operators_at_the_address_of_the_setting(settings: Settings) -> None:
    settings.DEFAULT_FROM_EMAIL = "Fillcast <sender@example.com>"
    assert push.contact() == "sender@example.com"
    set_setting("messages.push_contact", "operator@example.com")
    assert push.contact() == "operator@example.com"
