"""Draw the pictures of docs/performance.md from benchmarks/measured/*.json: `make plots`.

    python -m benchmarks.plots [--from FOLDER] [--to FOLDER]

It needs matplotlib (requirements-plots.txt) and nothing of Fillcast. The same figures give the same
bytes. Colours are readable on white and on dark grey; texts stay texts, for search.
"""

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

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
SHOWN_PROCESSES = 6
AN_ORDER = {
    "us_an_order": "time", "cpu_us": "CPU of all processes", "cpu_us_postgres": "CPU of PostgreSQL",
}  # fmt: skip
Samples = Sequence[dict[str, Any]]


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
    path.write_text(re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE))
    return path


def _legend(axes: Axes, columns: int = 3) -> None:
    """Put the legend below the picture, where it hides no line."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=columns, fontsize=10)


# ---- thirty minutes of load -------------------------------------------------------------------
def _over_time(
    figure: Figure, title: str, unit: str, samples: Samples,
    lines: Mapping[str, Callable[[Any], float]],
) -> Axes:  # fmt: skip
    axes = figure.add_subplot()
    axes.set_title(title, loc="left")
    axes.set(xlabel="minutes", ylabel=unit)
    for label, value in lines.items():
        axes.plot([one["at"] / 60 for one in samples], [*map(value, samples)], label=label)
    if lines:
        axes.set_ylim(bottom=0)
        _legend(axes)
    return axes


def memory(figure: Figure, samples: Samples) -> None:
    axes = _over_time(figure, "Memory by process (PSS)", "MB", samples, {})
    last = samples[-1]["mb"]
    names = sorted(last, key=last.__getitem__, reverse=True)
    shown, rest = names[:SHOWN_PROCESSES], names[SHOWN_PROCESSES:]
    series = {name: [one["mb"].get(name, 0.0) for one in samples] for name in shown}
    series["others"] = [sum(one["mb"].get(name, 0.0) for name in rest) for one in samples]
    minutes = [one["at"] / 60 for one in samples]
    axes.stackplot(minutes, [*series.values()], labels=[*series], alpha=0.8, linewidth=0)
    _legend(axes, 4)


def lag(figure: Figure, samples: Samples) -> None:
    none = float("nan")  # no order ended
    _over_time(figure, "Publication to fill, and the oldest due order", "seconds", samples, {
        "99 of 100 fills": lambda one: (one["orders"]["p99_ms"] or none) / 1000,
        "half of all fills": lambda one: (one["orders"]["p50_ms"] or none) / 1000,
        "oldest due order": lambda one: one["due_s"],
    })  # fmt: skip


def page_times(figure: Figure, samples: Samples) -> None:
    shown = [one for one in samples if one["pages"]["count"]]
    axes = _over_time(figure, "Pages beside trading", "milliseconds", shown, {
        "99 of 100": lambda one: one["pages"]["p99_ms"], "half": lambda one: one["pages"]["p50_ms"],
    })  # fmt: skip
    axes.axhline(300, color=COLOURS[4], linestyle="--", linewidth=1.2, label="bar, 99 of 100")
    _legend(axes)


# ---- curves -----------------------------------------------------------------------------------
def _by_size(figure: Figure, title: str, label: str, points: Samples) -> Axes:
    axes, sizes = figure.add_subplot(), [one["n"] for one in points]
    axes.set_title(title, loc="left")
    axes.set(xlabel=label, ylabel="µs an order", xscale="log")
    axes.set_xticks(sizes)
    axes.xaxis.set_major_formatter(FuncFormatter(_short))
    axes.xaxis.set_minor_locator(NullLocator())
    for name, text in AN_ORDER.items():
        axes.plot(sizes, [one[name] for one in points], "o-", label=text)
    axes.set_ylim(bottom=0)
    return axes


def by_connections(figure: Figure, points: Samples) -> None:
    _legend(_by_size(figure, "One order, by connections of its signal", "connections", points))


def by_orders(figure: Figure, points: Samples) -> None:
    axes = _by_size(figure, "One order, and a page, by stored orders", "orders", points)
    beside, pages = axes.twinx(), [one["page_median_ms"] for one in points]
    beside.set_ylabel("ms a page")
    beside.grid(visible=False)
    (line,) = beside.plot([one["n"] for one in points], pages, "s--", color=COLOURS[3])
    beside.set_ylim(bottom=0, top=2 * max(pages))
    handles, labels = axes.get_legend_handles_labels()
    axes.legend([*handles, line], [*labels, "median page (right)"], loc="upper center",
                bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize=10)  # fmt: skip


def by_workers(figure: Figure, points: Samples) -> None:
    left, right = figure.subplots(1, 2)
    numbers, bottom = [str(one["n"]) for one in points], [0.0] * len(points)
    left.set_title("Orders a second", loc="left")
    left.bar(numbers, [one["orders_a_second"] for one in points], color=COLOURS[0], width=0.6)
    right.set_title("µs of CPU an order", loc="left")
    parts = {"PostgreSQL": [one["cpu_us_postgres"] for one in points],
             "entries": [one["cpu_us_entries"] for one in points]}  # fmt: skip
    used = [sum(both) for both in zip(*parts.values(), strict=True)]
    rest = [one["cpu_us"] - both for one, both in zip(points, used, strict=True)]
    for label, values in {**parts, "others": rest}.items():
        right.bar(numbers, values, bottom=bottom, label=label, width=0.6)
        bottom = [low + value for low, value in zip(bottom, values, strict=True)]
    for axes in (left, right):
        axes.set_xlabel("workers for entries")
        axes.grid(visible=False, axis="x")
    figure.legend(loc="outside lower center", ncols=3, fontsize=10)


LOAD = {"load-memory": memory, "load-lag": lag, "load-pages": page_times}
CURVES = {
    "curve-connections": by_connections, "curve-orders": by_orders, "curve-workers": by_workers,
}  # fmt: skip


def _short(value: float, _position: int = 0) -> str:
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plots", description=__doc__)
    parser.add_argument("--from", dest="source", type=Path, default=MEASURED)
    parser.add_argument("--to", dest="target", type=Path, default=IMAGES)
    given = parser.parse_args()
    given.target.mkdir(parents=True, exist_ok=True)
    for path in draw_all(given.source, given.target):
        print(path)
