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
    """By line of the table: what is said there, and what is said here."""
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
def test_a_name_of_another_system_is_there(name: str) -> None:
    assert any(name in there for there, _ in mapping())


def test_what_it_leads_to_exists() -> None:
    told = {word for _, here in mapping() for word in here}
    assert told - OURS == set()
    assert {"submit", "cancel", "modify", "find_order", "account", "positions"} <= told


def test_each_call_of_the_interface_has_another_systems_name_or_is_only_ours() -> None:
    """Who comes from elsewhere finds each call but those that nobody else has."""
    calls = {name for name in vars(BrokerAdapter) if not name.startswith("_")}
    told = {word for _, here in mapping() for word in here}
    assert calls - told == {
        "acknowledge", "capabilities", "clock", "instrument_book",
    }  # fmt: skip
