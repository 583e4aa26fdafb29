#!/usr/bin/env python3
"""Check that each requirements*.txt is the lock of its requirements*.in, without an index.

What an .in file wants is pinned in a version that it allows, nothing else is pinned on its behalf,
and each pin has hashes. Whether newer versions have known faults: `make sbom`.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
_PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^]]*\])?==([^\s;\\]+)(.*?)(?=^\S|\Z)", re.M | re.S)  # noqa: FURB167


def wanted(path: Path) -> "Iterator[Requirement]":
    """Yield what an .in file wants, and the files that it includes."""
    for line in path.read_text().splitlines():
        text = line.split(" #")[0].strip()
        if text.startswith("-r "):
            yield from wanted(path.parent / text[3:].strip())
        elif text and not text.startswith(("#", "-")):
            yield Requirement(text)


def find_faults(source: Path) -> "list[str]":
    """Return a sentence for each difference between an .in file and its lock."""
    lock = source.with_suffix(".txt")
    if not lock.exists():
        return [f"{lock.name} does not exist"]
    pins: dict[str, list[str]] = {}
    faults = []
    direct = set()
    for name, version, rest in _PIN.findall(lock.read_text()):
        pins.setdefault(canonicalize_name(name), []).append(version)
        if "--hash=sha256:" not in rest:
            faults.append(f"{lock.name}: {name} has no hash")
        if re.search(rf"# +(via )?-r {re.escape(source.name)}$", rest, re.MULTILINE):
            direct.add(canonicalize_name(name))
    names = set()
    for requirement in wanted(source):
        name = canonicalize_name(requirement.name)
        names.add(name)
        versions = pins.get(name, [])
        if not any(requirement.specifier.contains(v, prereleases=True) for v in versions):
            faults.append(f"{source.name}: {requirement}, but locked is {versions or 'nothing'}")
    faults += [f"{lock.name}: {n} is not in {source.name} any more" for n in sorted(direct - names)]
    return faults


def main(root: Path = ROOT) -> None:
    """Check all of them."""
    sources = sorted(root.glob("requirements*.in"))
    faults = [fault for source in sources for fault in find_faults(source)]
    script = (root / "deploy" / "lock.sh").read_text()
    known = set(re.findall(r"requirements[\w-]*", script))
    faults += [f"deploy/lock.sh does not lock {s.name}" for s in sources if s.stem not in known]
    if faults:
        sys.exit("\n".join([*faults, "make lock"]))
    print(f"{len(sources)} locks")


if __name__ == "__main__":
    main()
