"""An account's page states how its broker treats a slippage limit."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from brokers.worst_price import CHECKED_ONLY, ENFORCED, UNSUPPORTED
from connections.models import ExecutionConnection

ADDRESSES = ("/admin/connections/executionconnection/{}/", "/accounts/{}/")


@pytest.mark.parametrize(
    ("broker_type", "exchange", "sentence"),
    [
        ("paper", "", ENFORCED),
        ("mt5", "", CHECKED_ONLY),
        ("mt4", "", CHECKED_ONLY),
        ("mt5-dwx", "", CHECKED_ONLY),
        ("ibkr", "", ENFORCED),
        ("crypto", "kraken", ENFORCED),
    ],
)
def test_account_page_states_where_the_slippage_limit_is_enforced(
    small: dict[str, Any],
    page: Callable[..., str],
    client: Client,
    broker_type: str,
    exchange: str,
    sentence: str,
) -> None:
    (account, *_) = small["connections"]
    ExecutionConnection.objects.filter(pk=account.pk).update(
        type=broker_type, exchange_name=exchange
    )
    for user, address in zip((small["operator"], account.user), ADDRESSES, strict=True):
        client.force_login(user or account.admin)
        html = page(address.format(account.pk))
        assert [text for text in (CHECKED_ONLY, ENFORCED, UNSUPPORTED) if text in html] == [
            sentence
        ]
