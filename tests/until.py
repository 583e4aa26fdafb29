"""Wait for what another thread or process brings about: for a condition, never for a time.

A failure states the condition as it is written at the call, and what each side of it was at last.
"""

import ast
import asyncio
import inspect
import linecache
import time
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, TypeVar

T = TypeVar("T")
SECONDS = 120.0  # a machine that is ten times slower, or a process that is stopped, fails no test


def until(
    is_so: Callable[[], T],
    otherwise: str = "",
    *,
    seconds: float = SECONDS,
    seen: Callable[[], object] | None = None,
    meanwhile: Callable[[], object] | None = None,
) -> T:
    """Wait for a condition and return its value.

    Raises AssertionError after `seconds`, with `otherwise`, the condition's text and its sides.
    seen: what else the failure shows, such as the rows that the condition depends on.
    meanwhile: is called after each look, for example to drive what is waited for.
    """
    began = time.monotonic()
    while not (found := is_so()):
        waited = time.monotonic() - began
        if waited > seconds:
            raise AssertionError(_failure(is_so, found, otherwise, waited, seen))
        if meanwhile:
            meanwhile()
        time.sleep(_pause(waited))
    return found


async def until_async(
    is_so: Callable[[], T],
    otherwise: str = "",
    *,
    seconds: float = SECONDS,
    seen: Callable[[], object] | None = None,
) -> T:
    """Wait as `until` does, while the other tasks of the event loop run."""
    began = time.monotonic()
    while not (found := is_so()):
        waited = time.monotonic() - began
        if waited > seconds:
            raise AssertionError(_failure(is_so, found, otherwise, waited, seen))
        await asyncio.sleep(_pause(waited))
    return found


def came_true(is_so: Callable[[], object], seconds: float) -> bool:
    """Return whether a condition comes true within so many seconds."""
    began = time.monotonic()
    while not is_so():
        waited = time.monotonic() - began
        if waited > seconds:
            return False
        time.sleep(_pause(waited))
    return True


def _pause(waited: float) -> float:
    """Return how long to wait before the next look: most conditions are queries."""
    return min(0.002 + waited / 20, 0.1)


def _failure(
    is_so: Callable[[], object], found: object, otherwise: str, waited: float,
    seen: Callable[[], object] | None,
) -> str:  # fmt: skip
    body = _body_of(is_so)
    text = ast.unparse(body) if body else getattr(is_so, "__qualname__", repr(is_so))
    return "\n".join(
        [
            f"{otherwise or 'It did not come to that'}: waited {waited:.0f} s for `{text}`",
            *(f"  {side}" for side in _sides(body, is_so)),
            *([] if found is False else [f"  at last: {found!r}"]),
            *([f"  seen: {seen()!r}"] if seen else []),
        ]
    )


def _body_of(is_so: Callable[[], object]) -> ast.expr | None:
    """Return what a lambda returns, as it is written."""
    if not isinstance(is_so, FunctionType) or is_so.__name__ != "<lambda>":
        return None
    code = is_so.__code__
    places = {(start, column) for start, _, column, _ in code.co_positions() if column}
    for node in ast.walk(ast.parse("".join(linecache.getlines(code.co_filename)))):
        if isinstance(node, ast.Lambda) and (node.body.lineno, node.body.col_offset) in places:
            return node.body
    return None


def _sides(body: ast.expr | None, is_so: Callable[[], object]) -> Iterator[str]:
    """Yield each part of a condition that is no literal, with its value now."""
    if body is None or not isinstance(is_so, FunctionType):
        return
    closure = inspect.getclosurevars(is_so).nonlocals
    defaults = inspect.signature(is_so).parameters.values()
    names = {**is_so.__globals__, **closure, **{p.name: p.default for p in defaults}}
    for part in _parts(body):
        if not isinstance(part, ast.Constant):
            yield f"{ast.unparse(part)} is {_value(part, names)}"


def _parts(body: ast.expr) -> list[ast.expr]:
    match body:
        case ast.Compare(left=left, comparators=others):
            return [left, *others]
        case ast.BoolOp(values=values):
            return [part for value in values for part in _parts(value)]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _parts(operand)
    return [body]


def _value(part: ast.expr, names: dict[str, Any]) -> str:
    try:
        return repr(eval(compile(ast.Expression(part), "<part>", "eval"), names))
    except Exception as error:
        return f"an error: {error!r}"
