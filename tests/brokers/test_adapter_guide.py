"""docs/adding-a-broker.md leads from other systems' names to names that there are."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from brokers.account_capabilities import Capabilities
from brokers.base import BrokerAdapter
from brokers.types import OrderRequest, OrderType

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adding-a-broker.md"
OURS = {
    *(name for name in vars(BrokerAdapter) if not name.startswith("_")),
    *(one.name for kind in (OrderRequest, Capabilities) for one in fields(kind)),
    *OrderType,
}


def mapping() -> list[tuple[set[str], set[str]]]:
    """Return for each line of the table the other system's names and ours."""
    _, _, table = PAGE.read_text().partition("## Other systems' names")
    lines = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][2:]
    return [(words(there), words(here)) for there, here in lines]


def words(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell))


@pytest.mark.parametrize(
    "name",
    ["place_order", "get_order_status", "close_order", "placeMarketOrder", "placeLimitOrder",
     "placeStopOrder", "cancel_order", "modify_order", "get_positions"],
)  # fmt: skip
def test_guide_lists_the_other_systems_name(name: str) -> None:
    assert any(name in there for there, _ in mapping())


def test_mapped_names_exist() -> None:
    mapped = {word for _, here in mapping() for word in here}
    assert mapped - OURS == set()
    assert {"submit", "cancel", "modify", "find_order", "account", "positions"} <= mapped


def test_each_adapter_call_is_mapped_or_only_ours() -> None:
    """The guide maps each call of the interface, except those that only we have."""
    calls = {name for name in vars(BrokerAdapter) if not name.startswith("_")}
    mapped = {word for _, here in mapping() for word in here}
    assert calls - mapped == {
        "acknowledge", "capabilities", "clock", "instrument_book",
    }  # fmt: skip
