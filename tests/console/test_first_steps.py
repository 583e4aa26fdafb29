"""The steps to the first trade: page, dashboard and empty lists say the same ones."""

import re
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from console.queries.first_steps import STEPS, steps_taken
from tests.connections import make
from tests.html import html_of
from users.models import User

PAGE = Path(__file__).parents[2] / "docs" / "first-hour.md"
pytestmark = pytest.mark.django_db


@pytest.fixture
def olga(client: Client) -> User:
    user = User.objects.create_superuser("olga")
    client.force_login(user)
    return user


def test_page_tells_the_same_steps_in_the_same_order() -> None:
    table = PAGE.read_text().partition("## 3.")[2].partition("\n\nThen")[0]
    told = re.findall(r"^\| (An? [^|]+?) \|", table, re.MULTILINE)
    assert told == [step.title for step in STEPS]


def test_dashboard_shows_what_is_done_until_a_signal_was_published(
    client: Client, olga: User
) -> None:
    html = html_of(client.get(reverse("admin:index")))
    for number, step in enumerate(STEPS, 1):
        assert f"{number}. {step.title}" in html
    assert [taken for _, taken in steps_taken()] == [False] * len(STEPS)
    make.subscription(make.connection(), make.feed())
    done = {step.title for step, taken in steps_taken() if taken}
    assert done == {
        "A tenant", "A feed", "A price source", "A preset", "An account", "A subscription",
    }  # fmt: skip


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.model)
def test_empty_list_says_its_step(client: Client, olga: User, step: object) -> None:
    one = next(known for known in STEPS if known is step)
    if one.model == "users.user":
        return  # it is never empty: somebody looks at it
    app, model = one.model.split(".")
    html = html_of(client.get(reverse(f"admin:{app}_{model}_changelist")))
    assert one.text in html.replace("&#x27;", "'")
    if one.add:
        assert client.get(reverse(one.add)).status_code == 200
