"""Any error in words: a connection test and a source of prices say the same of it."""

import pytest

from brokers.base import NotSent, ReadFailed
from common.errors import InvalidInputError, MisconfiguredError
from common.reason_codes import Code
from connections.error_messages import explain


@pytest.mark.parametrize(
    ("error", "about", "code", "message"),
    [
        (ReadFailed(Code.CREDENTIALS_REFUSED, "No."), "broker", Code.CREDENTIALS_REFUSED,
         f"{Code.CREDENTIALS_REFUSED.sentence} No."),
        (NotSent(Code.NOT_CONNECTED), "broker", Code.NOT_CONNECTED, Code.NOT_CONNECTED.sentence),
        (InvalidInputError(Code.HOST_NOT_ALLOWED, "Not that one."), "settings",
         Code.HOST_NOT_ALLOWED, "Not that one."),
        (MisconfiguredError("No key."), "installation", Code.INSTALLATION_FAULT, "No key."),
        (ImportError("no MetaTrader5"), "installation", Code.LIBRARY_MISSING,
         "This process has no library for mt5 accounts."),
        (TimeoutError(), "broker", Code.BROKER_UNREACHABLE, "The broker did not answer in time."),
        (ConnectionRefusedError(111, "Connection refused"), "broker", Code.BROKER_UNREACHABLE,
         "The broker could not be reached (Connection refused)."),
        (ValueError("anything"), "program", Code.UNEXPECTED,
         "An internal error occurred (ValueError)."),
    ],
)  # fmt: skip
def test_every_error_has_code_and_full_sentences(
    error: Exception, about: str, code: Code, message: str
) -> None:
    found = explain(error, "mt5")
    assert (found.about, found.code, found.message) == (about, code, message)
    assert found.remedy
    assert found.is_ours is (about == "program")
