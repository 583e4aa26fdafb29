"""Advice for a symbol without a currency names the pair that is meant, never a new one."""

import pytest

from common.errors import InvalidInputError
from signals.models import Feed
from signals.symbol_completion import resolve_pair
from signals.symbols import read_pair


@pytest.mark.parametrize(
    ("word", "pair"),
    [
        ("GOLD", "XAU/USD"), ("SILVER", "XAG/USD"), ("OIL", "USOIL/USD"), ("BRENT", "UKOIL/USD"),
        ("DAX", "GER40/EUR"), ("NASDAQ", "NAS100/USD"), ("DOW", "US30/USD"), ("FTSE", "UK100/GBP"),
        ("BITCOIN", "BTC/USD"), ("NOPE", "NOPE/USD"),
    ],
)  # fmt: skip
@pytest.mark.django_db
def test_advice_for_a_word_names_the_pair_that_is_meant(feed: Feed, word: str, pair: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        resolve_pair(feed, word, field="symbol")
    assert f"Write it as {pair}, for example." in caught.value.detail
    with pytest.raises(InvalidInputError, match=f"write {pair}, for example"):
        read_pair(word)
