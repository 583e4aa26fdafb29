"""What has ended is on no page as if it were live: a row that is shown, is gone once it ends."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from connections.loss_limits.pauses import resume_after_limit
from connections.models import TradingPause
from tests.loss_limits import pause_of
from tests.portal.conftest import SignedIn
from tests.portal.ended_rows import CASES, Case, key_of_alice, unsubscribe
from tests.portal.factories import World
from users.services import create_api_key, revoke_api_key

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("case", CASES)
def test_what_has_ended_is_shown_as_live_no_more(
    case: Callable[[World], Case], world: World
) -> None:
    is_shown, end = case(world)
    assert is_shown(), f"{case.__name__.replace('_', ' ')} is not shown before its end"
    end()
    assert not is_shown(), f"{case.__name__.replace('_', ' ')} is shown after its end"


# ---- by pages ----------------------------------------------------------------------------------
def test_page_names_only_keys_that_end_with_their_maker(world: World, signed_in: SignedIn) -> None:
    key, by = key_of_alice(world)
    live, ended = (
        create_api_key(world.alice, name, scopes=["read"], by=by)[0] for name in ("Zebra", "Yak")
    )
    revoke_api_key(ended.pk, by=None)
    html = _get(signed_in(world.alice), "security:key_revoke", key.pk).content.decode()
    assert (live.name in html, ended.name in html) == (True, False)


def test_preflight_knows_only_a_subscription_that_lasts(world: World, signed_in: SignedIn) -> None:
    client, found = signed_in(world.alice), []
    for end in (lambda: None, unsubscribe(world)):
        end()
        answer: Any = client.get(
            reverse("portal:preflight", args=[world.breakout.slug]), {"account": str(world.mt5.pk)}
        )
        found.append(answer.context_data["taken"] is not None)
    assert found == [True, False]


def test_console_shows_an_accounts_pauses_until_they_end(world: World, signed_in: SignedIn) -> None:
    pause, client = pause_of(world.ibkr), signed_in(world.olga)
    address = "admin:connections_executionconnection_page"
    shown = _get(client, address, world.ibkr.pk).context_data["pauses"]
    assert [one.pk for one in shown] == [pause.pk]
    resume_after_limit(pause.pk, by=None)
    assert TradingPause.objects.get(pk=pause.pk).ended_at is not None
    assert list(_get(client, address, world.ibkr.pk).context_data["pauses"]) == []


def _get(client: Client, name: str, pk: object) -> Any:
    answer = client.get(reverse(name, args=[pk]))
    assert answer.status_code == 200, (name, answer.status_code)
    return answer
