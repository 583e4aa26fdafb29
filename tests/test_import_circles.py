"""No module imports itself through others, not even for types alone."""

import graphlib
import tomllib

import grimp

from tests.by_path import ROOT


def test_no_modules_import_each_other() -> None:
    """A circle has to be read and changed as one module, however many files it has."""
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text())
    roots = configured["tool"]["importlinter"]["root_packages"]
    graph = grimp.build_graph(*roots, cache_dir=str(ROOT / ".import_linter_cache"))
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        raise AssertionError(f"these import each other: {' -> '.join(error.args[1])}") from error
