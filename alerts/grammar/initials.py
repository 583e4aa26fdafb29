"""Initials of two currencies, as forex rooms write pairs: “GU short 1.2750”. Pure.

Some are also shares (AU, NU, EA): read as a symbol, they would be an order for another thing.
"""

from alerts.grammar.reading import ambiguous, excerpt

_CURRENCIES = {"E": "EUR", "G": "GBP", "A": "AUD", "N": "NZD", "C": "CAD", "U": "USD", "J": "JPY"}
_OTHERS = {"GC", "NG"}  # futures of gold and gas


def refuse_initials(text: str) -> None:
    """Raise InvalidInputError ALERT_AMBIGUOUS for the initials of a pair."""
    is_pair = len(text) == 2 and text[0] != text[1] and set(text) <= set(_CURRENCIES)
    if not is_pair or text[0] == "J" or text in _OTHERS:
        return
    pair = "/".join(_CURRENCIES[letter] for letter in text)
    raise ambiguous(
        excerpt(text), pair, f"a symbol of the name {text}", field="symbol",
        write=f"Write {pair} for the one, its exchange for the other, like NYSE:{text}.",
    )  # fmt: skip
