"""A paper account by one click: opened, funded, connected, once for each request."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import connection

from brokers.paper import reads
from brokers.paper.models import PaperAccount, PaperInstrument
from common.errors import ConflictError, FillcastError, InvalidInputError, NotAllowedError
from common.reason_codes import Code
from connections import services
from connections.accounts import paper_accounts
from connections.models import ConnectionHealth, DataConnection, ExecutionConnection
from users.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def nora() -> User:
    return User.objects.create_user("nora")


@pytest.fixture
def prices() -> DataConnection:
    return DataConnection.objects.create(name="Recorded quotes")


def test_it_is_funded_connected_and_waits_for_its_test(
    nora: User, prices: DataConnection, keys: object
) -> None:
    row, is_new = services.open_paper_account(by=nora, currency="JPY", balance=1_000_000)
    book = PaperAccount.objects.get(number=row.account)
    assert is_new
    assert (book.balance, book.currency) == (Decimal(1_000_000), "JPY")
    assert (row.name, row.user, row.data_connection) == ("Paper JPY", nora, prices)
    password = row.open_credentials()["password"]
    assert book.password_hash == reads.hash_password(password)
    assert ConnectionHealth.objects.get(pk=row.pk).test_requested_at is not None
    assert PaperInstrument.objects.exists()


def test_the_same_request_opens_one(nora: User, prices: DataConnection) -> None:
    first, _ = services.open_paper_account(by=nora, request_key="click")
    again, is_new = services.open_paper_account(by=nora, request_key="click")
    other, _ = services.open_paper_account(by=nora, request_key="another click")
    assert (again, is_new) == (first, False)
    assert other != first
    assert PaperAccount.objects.count() == 2
    services.archive_connection(first.pk, by=nora)
    with pytest.raises(ConflictError, match="removed again"):
        services.open_paper_account(by=nora, request_key="click")


def test_changed_form_opens_what_it_says(nora: User, prices: DataConnection) -> None:
    first, _ = services.open_paper_account(by=nora, request_key="click")
    other, is_new = services.open_paper_account(
        by=nora, currency="JPY", balance=1_000_000, request_key="click"
    )
    richer, _ = services.open_paper_account(by=nora, balance=50_000, request_key="click")
    assert is_new
    assert len({first.pk, other.pk, richer.pk}) == 3
    assert PaperAccount.objects.get(number=other.account).currency == "JPY"


def test_another_user_with_the_same_key_gets_an_own_account(
    nora: User, prices: DataConnection
) -> None:
    otto = User.objects.create_user("otto")
    mine, _ = services.open_paper_account(by=nora, request_key="click")
    his, _ = services.open_paper_account(by=otto, request_key="click")
    assert mine.account != his.account


def test_a_user_may_have_five(nora: User, prices: DataConnection) -> None:
    rows = [services.open_paper_account(by=nora)[0] for _ in range(5)]
    assert len({row.name for row in rows}) == 5
    with pytest.raises(ConflictError) as refused:
        services.open_paper_account(by=nora)
    assert refused.value.code is Code.PAPER_ACCOUNT_LIMIT
    services.archive_connection(rows[0].pk, by=nora)
    services.open_paper_account(by=nora)


def test_removed_ones_count_for_a_day(
    nora: User, prices: DataConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper_accounts, "MAX_A_DAY", 2)
    for _ in range(2):
        services.archive_connection(services.open_paper_account(by=nora)[0].pk, by=nora)
    with pytest.raises(ConflictError, match="within a day"):
        services.open_paper_account(by=nora)


@pytest.mark.parametrize(
    ("values", "field"),
    [({"currency": "XXX"}, "currency"), ({"balance": 7}, "balance"),
     ({"currency": "JPY", "balance": 1_000}, "balance")],
)  # fmt: skip
def test_only_what_is_offered(
    nora: User, prices: DataConnection, values: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        services.open_paper_account(by=nora, **values)  # type: ignore[arg-type]
    assert refused.value.field == field
    assert not ExecutionConnection.objects.exists()


def test_without_shared_prices_nothing_is_opened(nora: User) -> None:
    DataConnection.objects.create(name="Off", is_active=False)
    DataConnection.objects.create(name="Hers", user=nora)
    with pytest.raises(FillcastError) as refused:
        services.open_paper_account(by=nora)
    assert refused.value.code is Code.NO_SHARED_PRICES
    assert not PaperAccount.objects.exists()


def test_staff_without_the_right_may_not(prices: DataConnection) -> None:
    clerk = User.objects.create_user("clerk", is_staff=True)
    with pytest.raises(NotAllowedError):
        services.open_paper_account(by=clerk)


def test_a_source_that_delivers_comes_before_constant_prices(nora: User) -> None:
    DataConnection.objects.create(name="Constant", kind="static")
    recorded = DataConnection.objects.create(name="Recorded", kind="replay")
    assert paper_accounts.shared_price_source() == recorded


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_once_open_one() -> None:
    nora = User.objects.create_user("nora")
    DataConnection.objects.create(name="Recorded quotes")

    def click(_: int) -> tuple[object, bool]:
        try:
            row, is_new = services.open_paper_account(by=nora, request_key="click")
            return row.pk, is_new
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(click, range(4)))
    assert len({pk for pk, _ in answers}) == 1
    assert sorted(is_new for _, is_new in answers) == [False, False, False, True]
    assert PaperAccount.objects.count() == 1
