"""Python functions that are called at each fill."""

from decimal import Decimal as D
from pathlib import Path

import pytest

from buses import callbacks
from buses.callback_points import callback_points
from buses.callbacks import CallbackSink, callback_sinks, register_fill_callback
from buses.catalogue import CATALOGUE, Fill
from buses.examples import EXAMPLES, example_of
from buses.sinks import SinkMisconfigured, SinkRefused
from tests.buses.factories import envelope

MODULE = """
seen = []
def on_fill(fill):
    seen.append(fill.price)
"""


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "_registered", {})


def fills(count: int) -> list[Fill]:
    return [one for one in EXAMPLES if isinstance(one, Fill)] * count


def test_callback_gets_fills_with_decimals() -> None:
    seen: list[Fill] = []
    register_fill_callback(seen.append, name="mine")
    (sink,) = callback_sinks()
    sink.write([example_of(event) for event in CATALOGUE])
    assert seen == fills(1)
    assert (seen[0].price, sink.name) == (D("1.10002"), "python:mine")


def test_failed_callback_refuses_and_repeats_no_other_fill() -> None:
    seen: list[str] = []

    def on_fill(fill: Fill) -> None:
        seen.append(fill.broker_fill_id)
        if fill.broker_fill_id == "2":
            raise ValueError("no such account")

    data = example_of(Fill).data
    batch = [
        envelope(number, type="fillcast.fill.v1", data=data | {"broker_fill_id": str(number)})
        for number in (1, 2, 3)
    ]
    sink = CallbackSink("mine", on_fill)
    with pytest.raises(SinkRefused, match="ValueError: no such account") as refusal:
        sink.write(batch)
    sink.write([one for one in batch if one.id != refusal.value.envelope_id])
    assert seen == ["1", "2", "3"]
    sink.write(batch[:1])  # replayed on purpose
    assert seen == ["1", "2", "3", "1"]


def test_two_callbacks_with_one_name_are_refused() -> None:
    register_fill_callback(print, name="mine")
    register_fill_callback(print, name="mine")
    with pytest.raises(SinkMisconfigured, match="Two fill callbacks have the name mine"):
        register_fill_callback(repr, name="mine")


def test_installed_package_registers_by_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not callback_points()
    (tmp_path / "my_fills.py").write_text(MODULE)
    info = tmp_path / "my_fills-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-fills\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[fillcast.fill_callbacks]\nledger = my_fills:on_fill\nbroken = my_fills:missing\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert callback_points()
    (sink,) = callback_sinks()
    sink.write([example_of(Fill)])
    import my_fills  # type: ignore[import-not-found]

    assert (sink.name, my_fills.seen) == ("python:ledger", [D("1.10002")])
