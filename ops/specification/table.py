"""What the table of the specification's words is made of, and what may be wrong with it."""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    """Where a term lives. path: from the root, a file or folder. name: in it; '': all of it."""

    path: str
    name: str

    def __str__(self) -> str:
        return f"{self.path} {self.name}".rstrip()


@dataclass(frozen=True, slots=True)
class Row:
    """A term of the specification. here: what it is here, or what replaces it and why."""

    term: str
    here: str
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """Terms of one kind. intro: the text above their table."""

    title: str
    intro: str
    rows: tuple[Row, ...]


def row(term: str, here: str, *places: str) -> Row:
    """Return a row. term, here: Markdown. places: each `path` or `path name`."""
    parted = (place.partition(" ") for place in places)
    return Row(term, here, tuple(Place(path, name) for path, _, name in parted))


def faults_of(sections: Sequence[Section], root: Path) -> Iterator[str]:
    """Yield what is wrong with a table: a term without a place, a path or name that is not there, a
    term that is there twice."""
    seen: set[str] = set()
    for one in (one for section in sections for one in section.rows):
        if one.term in seen:
            yield f"{one.term}: it has two rows"
        seen.add(one.term)
        if not one.places:
            yield f"{one.term}: it has no place"
        for text in (one.term, one.here):
            if "|" in text or "\n" in text:
                yield f"{one.term}: a cell has a | or a line break"
        for place in one.places:
            if fault := _fault_of(place, root):
                yield f"{one.term}: {place}: {fault}"


def _fault_of(place: Place, root: Path) -> str:
    file = root / place.path
    if not file.exists():
        return "no such file"
    if not place.name:
        return ""
    if not file.is_file():
        return "a folder has no names"
    return "" if place.name in _names_in(file) else "no such name"


@cache
def _names_in(file: Path) -> frozenset[str]:
    """Return the names of a file: of a module those that its code has, not its comments."""
    text = file.read_text()
    if file.suffix != ".py":
        return frozenset(re.findall(r"\w+", text))
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.keyword(arg=str(name)) | ast.arg(arg=name):
                found.add(name)
            case ast.Constant(value=str(text)) if re.fullmatch(r"[\w.]+", text):
                found.update(text.split("."))  # a status of the API, the name of a task
    return frozenset(found)
