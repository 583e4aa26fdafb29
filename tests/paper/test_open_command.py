"""`manage.py open_paper_account`: what it opens and what it refuses."""

from decimal import Decimal as D

import pytest
from django.core.management import CommandError, call_command

from brokers.paper.models import PaperAccount

pytestmark = pytest.mark.django_db


def test_account_is_opened_in_an_offered_currency() -> None:
    call_command("open_paper_account", "1001", currency="eur", balance="5000")
    account = PaperAccount.objects.get(number="1001")
    assert (account.currency, account.balance) == ("EUR", D(5000))


@pytest.mark.parametrize(
    ("number", "options", "refusal"),
    [
        ("1001", {"currency": "XXX"}, "'XXX' is not offered, only USD, EUR, GBP, CHF, JPY."),
        ("1001", {"currency": "dollars"}, "'DOLLARS' is not offered, only USD"),
        ("a b/c", {}, "'a b/c' is not an account's number, such as 1001: up to 60 letters"),
        ("", {}, "'' is not an account's number"),
        ("-1", {}, "'-1' is not an account's number"),
        ("1" * 61, {}, "is not an account's number"),
        ("1001", {"balance": "-1"}, "--balance: "),
    ],
)
def test_refusal_says_what_is_allowed(number: str, options: dict[str, str], refusal: str) -> None:
    with pytest.raises(CommandError, match=refusal):
        call_command("open_paper_account", number, **options)
    assert not PaperAccount.objects.exists()
