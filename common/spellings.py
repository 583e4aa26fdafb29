"""One spelling of what people type as a name: letters that only look different are one letter.

A database with a Unicode collation takes `ſ` for `s`, and so may the owner of another inbox. What
finds a user is compared in this spelling, and a mail goes to the address that is stored.
"""

import unicodedata


def one_spelling(text: str) -> str:
    """Return a text in Unicode's form NFKC: `ſ` is s, a wide letter is narrow. Idempotent."""
    return unicodedata.normalize("NFKC", text)


def spellings_of(text: str) -> list[str]:
    """Return what a stored name that was typed like this may be: in one spelling, or as typed."""
    return sorted({text, one_spelling(text)})


def stored_address(typed: str) -> str:
    """Return an e-mail address as it is stored: in one spelling, its domain in lower case."""
    name, at, domain = one_spelling(typed).strip().rpartition("@")
    return f"{name}@{domain.lower()}" if at else domain


def is_same_address(one: str, other: str) -> bool:
    """Whether two e-mail addresses are the same but for upper and lower case.

    A database may take a dotless i for an i there, which is another domain with another owner.
    """
    return one_spelling(one).lower() == one_spelling(other).lower()
