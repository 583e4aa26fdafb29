"""The steps to the first trade are the same in the document, the dashboard and empty lists."""

import re
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from console.queries.first_steps import STEPS, Step, steps_taken
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


def test_document_has_the_same_steps_in_the_same_order() -> None:
    table = PAGE.read_text().partition("## 3.")[2].partition("\n\n")[0]
    titles = re.findall(r"^\| (An? [^|]+?) \|", table, re.MULTILINE)
    assert titles == [step.title for step in STEPS]


def test_dashboard_marks_completed_steps(client: Client, olga: User) -> None:
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
def test_empty_list_states_its_step(client: Client, olga: User, step: Step) -> None:
    if step.model == "users.user":
        return  # it is never empty: it contains the operator
    app, model = step.model.split(".")
    html = html_of(client.get(reverse(f"admin:{app}_{model}_changelist")))
    assert step.text in html.replace("&#x27;", "'")
    if step.add:
        assert client.get(reverse(step.add)).status_code == 200
