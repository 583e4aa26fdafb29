"""What the worker and the package's process say to each other is read back as it was."""

import io
from collections import namedtuple
from typing import Any

import pytest

from brokers.mt5 import ipc

Row = namedtuple("Row", "ticket price comment")
Result = namedtuple("Result", "retcode request")


def through(value: Any) -> Any:
    line = io.BytesIO()
    ipc.write(line, ipc.pack(value))
    line.seek(0)
    return ipc.unpack(ipc.read(line))


@pytest.mark.parametrize("value", [None, True, 0, 2**63 - 1, 0.1 + 0.2, 1e-8, "Zürich", [1, "a"]])
def test_plain_values(value: Any) -> None:
    assert through(value) == value


def test_rows_have_their_fields() -> None:
    rows = through((Row(1, 1.1, "a"), Row(2**52 + 1, 1e-5, "")))
    assert [(one.ticket, one.price, one.comment) for one in rows] == [
        (1, 1.1, "a"),
        (2**52 + 1, 1e-5, ""),
    ]
    assert through(()) == []
    assert through((500, 5200, "20 Nov 2026")) == [500, 5200, "20 Nov 2026"]


def test_row_in_a_row() -> None:
    result = through(Result(10009, Row(7, 1.1, "x")))
    assert (result.retcode, result.request.ticket) == (10009, 7)


def test_truncated_frame_ends_the_stream() -> None:
    line = io.BytesIO()
    ipc.write(line, {"result": 1})
    whole = line.getvalue()
    for length in (0, 3, len(whole) - 1):
        assert ipc.read(io.BytesIO(whole[:length])) is None


@pytest.mark.parametrize("raw", [b"\x7f\xff\xff\xff{}", b"\x00\x00\x00\x02{]"])
def test_invalid_frame_is_refused_and_quoted(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"b'"):
        ipc.read(io.BytesIO(raw))
