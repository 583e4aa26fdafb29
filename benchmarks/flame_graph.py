"""Draw folded stacks as a flame graph: `python -m benchmarks.flame_graph FOLDED SVG [TITLE]`.

Each bar is a function; its width is the share of the samples in which it was running or waiting for
what is above it. Narrow bars are left out, so that the picture is small and its texts are readable.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from zlib import crc32

WIDTH, ROW, TOP = 1000, 17, 46
LEAST = 0.011  # of all samples: narrower bars are left out
MOST_DEPTH = 16
LETTER = 6.1  # pixels of one
COLOURS = {"execution": "#e8710a", "brokers": "#2e9e5b", "common": "#b158c9", "psycopg": "#1f83d6",
           "django": "#8a7a1f", "celery": "#7f8c8d", "kombu": "#7f8c8d"}  # fmt: skip
OTHER = "#9a9a9a"
LEGEND = ("execution", "brokers", "common", "psycopg", "django", "celery")
# Frames below the first of ours state only how a worker starts.
OURS = ("execution/", "brokers/", "connections/", "events/", "signals/", "positions/", "common/")


@dataclass(slots=True)
class Frame:
    """A function on one path. samples: of it and of what is above it."""

    samples: int = 0
    above: "dict[str, Frame]" = field(default_factory=dict)


def read(path: Path) -> Counter[tuple[str, ...]]:
    """Return how often each stack was seen, the outermost function first."""
    found: Counter[tuple[str, ...]] = Counter()
    for line in path.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        found[tuple(_plain(frame) for frame in stack.split(";"))] += int(count)
    return found


def shares(stacks: Mapping[tuple[str, ...], int], parts: Sequence[str]) -> dict[str, float]:
    """Return in which share of the samples the innermost frame of one of `parts` is each part's."""
    everything = sum(stacks.values()) or 1
    counts: Counter[str] = Counter()
    for stack, count in stacks.items():
        inner = next(
            (part for frame in reversed(stack) for part in parts if part in frame), "other"
        )
        counts[inner] += count
    return {part: round(count / everything, 4) for part, count in counts.most_common()}


def draw(stacks: Mapping[tuple[str, ...], int], title: str) -> str:
    """Return the picture as SVG."""
    root = Frame()
    for stack, count in stacks.items():
        _add(root, _from_ours(stack), count)
    bars: list[str] = []
    depth = _draw(bars, root, 0.0, 0, root.samples)
    height = TOP + ROW * (depth + 1) + 8
    legend = "".join(
        f'<rect x="{2 + 90 * n}" y="26" width="11" height="11" fill="{COLOURS[name]}"/>'
        f'<text x="{18 + 90 * n}" y="36" fill="#808080">{name}</text>'
        for n, name in enumerate(LEGEND)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
        ' font-family="sans-serif" font-size="11">\n'
        f'<text x="2" y="14" font-size="13" fill="#808080">{escape(title)}</text>{legend}\n'
        f'<g transform="translate(0 {TOP})">\n' + "\n".join(bars) + "\n</g></svg>\n"
    )


def _plain(frame: str) -> str:
    """Return `file function` of a frame, without line numbers and folders of packages."""
    function, _, place = frame.partition(" (")
    file = place.rpartition(":")[0].rstrip(")")
    file = file.rpartition("site-packages/")[2]
    return f"{file} {function}" if file else function


def _from_ours(stack: tuple[str, ...]) -> tuple[str, ...]:
    first = next(
        (n for part in (OURS, "kombu/") for n, frame in enumerate(stack) if frame.startswith(part)),
        0,
    )
    return stack[first : first + MOST_DEPTH]


def _add(root: Frame, stack: tuple[str, ...], count: int) -> None:
    frame = root
    frame.samples += count
    for name in stack:
        frame = frame.above.setdefault(name, Frame())
        frame.samples += count


def _draw(bars: list[str], frame: Frame, left: float, depth: int, everything: int) -> int:
    """Draw what is above a frame, the widest first; return the greatest depth."""
    deepest = depth
    for name, one in sorted(frame.above.items(), key=lambda item: (-item[1].samples, item[0])):
        share = one.samples / everything
        if share < LEAST:
            continue
        bars.append(_bar(name, left, depth, share))
        deepest = max(deepest, _draw(bars, one, left, depth + 1, everything))
        left += share * WIDTH
    return deepest


def _bar(name: str, left: float, depth: int, share: float) -> str:
    file, _, function = name.rpartition(" ")
    colour = next((c for part, c in COLOURS.items() if file.startswith(part)), OTHER)
    shade = 0.55 + (crc32(name.encode()) % 35) / 100
    width, y = share * WIDTH, depth * ROW
    module = file.removesuffix(".py").rpartition("/")[2]
    label = f"{module}.{function}" if module else function
    letters = int((width - 4) / LETTER)
    text = label if len(label) <= letters else function[:letters] if letters > 2 else ""
    shown = (
        f'<text x="{left + 2:.1f}" y="{y + 12}" fill="#fff">{escape(text)}</text>' if text else ""
    )
    return (
        f'<g><title>{escape(name)}: {share:.1%}</title><rect x="{left:.1f}" y="{y}"'
        f' width="{width - 0.6:.1f}" height="{ROW - 1}" fill="{colour}"'
        f' fill-opacity="{shade:.2f}"/>{shown}</g>'
    )


if __name__ == "__main__":
    folded, target, *words = sys.argv[1:]
    Path(target).write_text(draw(read(Path(folded)), " ".join(words) or folded))
