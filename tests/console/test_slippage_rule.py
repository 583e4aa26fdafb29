"""An account's page says what its broker does with a slippage limit."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from brokers.worst_price import CHECKED_ONLY, ENFORCED, UNSUPPORTED
from connections.models import ExecutionConnection

ADDRESSES = ("/admin/connections/executionconnection/{}/", "/accounts/{}/")


@pytest.mark.parametrize(
    ("kind", "exchange", "sentence"),
    [
        ("paper", "", ENFORCED),
        ("mt5", "", CHECKED_ONLY),
        ("mt4", "", CHECKED_ONLY),
        ("mt5-dwx", "", CHECKED_ONLY),
        ("ibkr", "", ENFORCED),
        ("crypto", "kraken", ENFORCED),
    ],
)
def test_account_page_says_where_the_slippage_limit_is_enforced(
    small: dict[str, Any],
    page: Callable[..., str],
    client: Client,
    kind: str,
    exchange: str,
    sentence: str,
) -> None:
    (account, *_) = small["connections"]
    ExecutionConnection.objects.filter(pk=account.pk).update(type=kind, exchange_name=exchange)
    for user, address in zip((small["operator"], account.user), ADDRESSES, strict=True):
        client.force_login(user or account.admin)
        html = page(address.format(account.pk))
        assert [one for one in (CHECKED_ONLY, ENFORCED, UNSUPPORTED) if one in html] == [sentence]
