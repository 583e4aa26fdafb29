"""Draw the pictures of docs/performance.md from benchmarks/measured/*.json: `make plots`.

    python -m benchmarks.plots [--from FOLDER] [--to FOLDER]

It needs matplotlib (requirements-plots.txt) and nothing of Fillcast. The same figures give the same
bytes. Colours are readable on white and on dark grey, and the background is transparent. Texts stay
texts, so that a picture is small and a reader can search it.
"""

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

ROOT = Path(__file__).resolve().parents[1]
MEASURED, IMAGES = ROOT / "benchmarks" / "measured", ROOT / "docs" / "images" / "performance"
GREY = "#808080"
COLOURS = ("#1f83d6", "#e8710a", "#2e9e5b", "#b158c9", "#c7375f", "#8a7a1f", "#17a2a8", "#7f7f7f")
STYLE = {
    "svg.hashsalt": "fillcast", "svg.fonttype": "none", "font.size": 12,
    "font.family": "sans-serif",
    "text.color": GREY, "axes.labelcolor": GREY, "axes.edgecolor": GREY, "xtick.color": GREY,
    "ytick.color": GREY, "axes.titlesize": 13, "axes.titlecolor": GREY, "axes.grid": True,
    "grid.color": GREY, "grid.alpha": 0.25, "axes.spines.top": False, "axes.spines.right": False,
    "legend.frameon": False, "legend.labelcolor": GREY, "lines.linewidth": 1.8,
    "axes.prop_cycle": matplotlib.cycler(color=COLOURS), "path.simplify_threshold": 0.5,
}  # fmt: skip
SIZE = (6.4, 3.6)  # inches: readable at the width of a phone
MOST_BYTES = 100_000
SHOWN_PROCESSES = 6
Samples = Sequence[dict[str, Any]]


def main() -> None:
    """Draw every picture whose figures exist."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plots", description=__doc__)
    parser.add_argument("--from", dest="source", type=Path, default=MEASURED)
    parser.add_argument("--to", dest="target", type=Path, default=IMAGES)
    given = parser.parse_args()
    given.target.mkdir(parents=True, exist_ok=True)
    for path in draw_all(given.source, given.target):
        print(path)


def draw_all(source: Path, target: Path) -> list[Path]:
    """Draw what the files in `source` have figures of; return the pictures' paths."""
    written = []
    with matplotlib.rc_context(STYLE):
        if (path := source / "load.json").exists():
            samples = json.loads(path.read_text())["samples"]
            written += [_save(target / f"{name}.svg", draw, samples) for name, draw in LOAD.items()]
        if (path := source / "curves.json").exists():
            curves = json.loads(path.read_text())
            for name, draw in CURVES.items():
                if points := curves.get(name.removeprefix("curve-")):
                    found = [{"n": int(n), **one} for n, one in points.items()]
                    found.sort(key=lambda one: one["n"])
                    written.append(_save(target / f"{name}.svg", draw, found))
    return written


def _save(path: Path, draw: Callable[[Figure, Samples], None], samples: Samples) -> Path:
    figure = pyplot.figure(figsize=SIZE, layout="constrained")
    draw(figure, samples)
    figure.savefig(path, transparent=True, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    # Editors and viewers that lack matplotlib's font take the reader's own.
    text = re.sub(r"font: (\S+) '[^;\"]*", r"font: \1 sans-serif", path.read_text())
    text = re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
    path.write_text(text)
    if len(text) > MOST_BYTES:
        raise SystemExit(f"{path} has {len(text):,} bytes; at most {MOST_BYTES:,} are wanted.")
    return path


# ---- thirty minutes of load -------------------------------------------------------------------
def _with_tables(samples: Samples) -> Samples:
    """Return the samples with tables: in committed files every third one has them."""
    return [one for one in samples if "tables" in one]


def _minutes(samples: Samples) -> list[float]:
    return [one["at"] / 60 for one in samples]


def _over_time(figure: Figure, title: str, unit: str) -> Axes:
    axes = figure.add_subplot()
    axes.set_title(title, loc="left")
    axes.set_xlabel("minutes")
    axes.set_ylabel(unit)
    return axes


def _legend(axes: Axes, columns: int = 3) -> None:
    """Put the legend below the picture, where it hides no line."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=columns, fontsize=10)


def memory(figure: Figure, samples: Samples) -> None:
    """Memory of the processes that have most."""
    axes = _over_time(figure, "Memory by process (PSS)", "MB")
    last = samples[-1]["mb"]
    names = sorted(last, key=last.__getitem__, reverse=True)
    shown, rest = names[:SHOWN_PROCESSES], names[SHOWN_PROCESSES:]
    series = {name: [one["mb"].get(name, 0.0) for one in samples] for name in shown}
    series["others"] = [sum(one["mb"].get(name, 0.0) for name in rest) for one in samples]
    axes.stackplot(_minutes(samples), [*series.values()], labels=[*series], alpha=0.8, linewidth=0)
    _legend(axes, 4)


def lag(figure: Figure, samples: Samples) -> None:
    """How long the oldest due order waits, and the time from publication to fills."""
    axes = _over_time(figure, "Publication to fill, and the oldest due order", "seconds")
    lines = {
        "99 of 100 fills": [_seconds(one["orders"]["all"]["p99_ms"]) for one in samples],
        "half of all fills": [_seconds(one["orders"]["all"]["p50_ms"]) for one in samples],
        "oldest due order": [one["due_s"] for one in samples],
    }
    for label, values in lines.items():
        axes.plot(_minutes(samples), values, label=label)
    axes.set_ylim(bottom=0)
    _legend(axes)


def fills(figure: Figure, samples: Samples) -> None:
    """The median time to a fill by broker."""
    axes = _over_time(figure, "Publication to fill by broker, median", "milliseconds")
    names = {"paper": "paper", "slow": "HTTP, 100 ms", "ibkr": "IBKR", "mt4": "MetaTrader 4",
             "mt5-dwx": "MetaTrader 5 by files"}  # fmt: skip
    for kind, label in names.items():
        values = [one["orders"].get(kind, {}).get("p50_ms") for one in samples]
        if any(values):
            axes.plot(_minutes(samples), values, label=label)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(_short))
    axes.yaxis.set_minor_locator(NullLocator())
    _legend(axes)


def page_times(figure: Figure, samples: Samples) -> None:
    """How long tenants wait for a page, and the bar."""
    axes = _over_time(figure, "Pages beside trading", "milliseconds")
    shown = [one for one in samples if one["pages"]["count"]]
    axes.plot(_minutes(shown), [one["pages"]["p99_ms"] for one in shown], label="99 of 100")
    axes.plot(_minutes(shown), [one["pages"]["p50_ms"] for one in shown], label="half")
    axes.axhline(300, color=COLOURS[4], linestyle="--", linewidth=1.2, label="bar, 99 of 100")
    axes.set_ylim(bottom=0)
    _legend(axes)


def dead_rows(figure: Figure, samples: Samples) -> None:
    """The share of dead rows of the busiest tables: autovacuum makes the teeth."""
    axes = _over_time(figure, "Dead rows that autovacuum has not removed yet", "% of rows")
    samples = _with_tables(samples)
    tables = samples[-1]["tables"]
    busiest = sorted(tables, key=lambda name: tables[name]["updates"], reverse=True)[:5]
    for name in busiest:
        axes.plot(_minutes(samples), [_dead(one, name) for one in samples], label=_short_name(name))
    axes.set_ylim(bottom=0)
    _legend(axes, 2)


def sizes(figure: Figure, samples: Samples) -> None:
    """Tables and their indexes."""
    axes = _over_time(figure, "Tables with their indexes", "MB")
    samples = _with_tables(samples)
    tables = samples[-1]["tables"]
    size = {name: one["table_mb"] + one["index_mb"] for name, one in tables.items()}
    shown = sorted(size, key=size.__getitem__, reverse=True)[:SHOWN_PROCESSES]
    for name in shown:
        values = [_size(one["tables"].get(name)) for one in samples]
        axes.plot(_minutes(samples), values, label=_short_name(name))
    axes.set_ylim(bottom=0)
    _legend(axes, 2)


LOAD = {"load-memory": memory, "load-lag": lag, "load-fills": fills, "load-pages": page_times,
        "load-dead-rows": dead_rows, "load-sizes": sizes}  # fmt: skip


# ---- curves -----------------------------------------------------------------------------------
def _by_size(figure: Figure, title: str, label: str, points: Samples) -> Axes:
    axes = figure.add_subplot()
    axes.set_title(title, loc="left")
    axes.set_xlabel(label)
    axes.set_xscale("log")
    axes.set_xticks([one["n"] for one in points])
    axes.xaxis.set_major_formatter(FuncFormatter(_short))
    axes.xaxis.set_minor_locator(NullLocator())
    return axes


def _lines(axes: Axes, points: Samples, lines: dict[str, str]) -> None:
    for figure, label in lines.items():
        axes.plot([one["n"] for one in points], [one[figure] for one in points], "o-", label=label)
    axes.set_ylim(bottom=0)


AN_ORDER = {"us_an_order": "time", "cpu_us": "CPU of all processes",
            "cpu_us_postgres": "CPU of PostgreSQL"}  # fmt: skip


def by_connections(figure: Figure, points: Samples) -> None:
    """An order's time and CPU by the connections of its signal."""
    axes = _by_size(figure, "One order, by connections of its signal", "connections", points)
    axes.set_ylabel("µs an order")
    _lines(axes, points, AN_ORDER)
    _legend(axes)


def by_orders(figure: Figure, points: Samples) -> None:
    """An order's time and a page's, by the orders in the tables."""
    axes = _by_size(figure, "One order, and a page, by stored orders", "orders", points)
    axes.set_ylabel("µs an order")
    _lines(axes, points, AN_ORDER)
    beside = axes.twinx()
    beside.set_ylabel("ms a page")
    beside.grid(visible=False)
    beside.plot([one["n"] for one in points], [one["page_median_ms"] for one in points], "s--",
                color=COLOURS[3], label="median page (right)")  # fmt: skip
    beside.set_ylim(bottom=0, top=2 * max(one["page_median_ms"] for one in points))
    handles, labels = axes.get_legend_handles_labels()
    more, names = beside.get_legend_handles_labels()
    axes.legend([*handles, *more], [*labels, *names], loc="upper center",
                bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize=10)  # fmt: skip


def by_workers(figure: Figure, points: Samples) -> None:
    """Orders a second by workers, and who uses the cores."""
    left, right = figure.subplots(1, 2)
    numbers = [str(one["n"]) for one in points]
    left.set_title("Orders a second", loc="left")
    left.bar(numbers, [one["orders_a_second"] for one in points], color=COLOURS[0], width=0.6)
    right.set_title("Cores in use", loc="left")
    bottom = [0.0] * len(points)
    parts = {"PostgreSQL": "postgres", "entries": "entries", "publisher": "publisher",
             "others": ""}  # fmt: skip
    for label, name in parts.items():
        values = [_cores(one["cores"], name) for one in points]
        right.bar(numbers, values, bottom=bottom, label=label, width=0.6)
        bottom = [low + value for low, value in zip(bottom, values, strict=True)]
    for axes in (left, right):
        axes.set_xlabel("workers for entries")
        axes.grid(visible=False, axis="x")
    figure.legend(loc="outside lower center", ncols=4, fontsize=10)


CURVES = {"curve-connections": by_connections, "curve-orders": by_orders,
          "curve-workers": by_workers}  # fmt: skip


def _cores(cores: dict[str, float], name: str) -> float:
    """Return what a part used; '' is all that has no part of its own."""
    apart = {"postgres", "entries", "publisher", "idle", "busiest_worker", "busiest_session"}
    if name:
        return cores.get(name, 0.0)
    return sum(share for part, share in cores.items() if part not in apart)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _dead(sample: dict[str, Any], name: str) -> float | None:
    one = sample["tables"].get(name)
    return 100 * one["dead"] / max(one["live"] + one["dead"], 1) if one else None


def _size(one: dict[str, float] | None) -> float | None:
    return one["table_mb"] + one["index_mb"] if one else None


def _short_name(table: str) -> str:
    """Return a table's name without its app, except for the paper broker's."""
    app, _, name = table.partition("_")
    return f"paper {name}" if app == "paper" else name.removeprefix("execution")


def _short(value: float, _position: int = 0) -> str:
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


if __name__ == "__main__":
    main()
