"""The table of explained survivors in survivors.md names functions that exist."""

import ast
from pathlib import Path

from tests.mutation.__main__ import ROOT, Mutant, explained_survivors, mutant_of
from tests.mutation.modules import MODULES


def functions() -> set[str]:
    """Return `module.function` and `module.Class.method` of all checked modules."""
    found = set()
    for module in map(Path, MODULES):
        for node in ast.parse((ROOT / module).read_text()).body:
            inner = node.body if isinstance(node, ast.ClassDef) else []
            prefix = f"{module.stem}.{node.name}." if isinstance(node, ast.ClassDef) else ""
            found |= {f"{prefix}{one.name}" for one in inner if isinstance(one, ast.FunctionDef)}
            if isinstance(node, ast.FunctionDef):
                found.add(f"{module.stem}.{node.name}")
    return found


def test_explained_survivors_are_changes_of_checked_functions() -> None:
    explained = explained_survivors()
    assert explained
    assert {mutant.function for mutant in explained} <= functions()
    assert all(explained.values())


def test_mutant_is_named_by_its_function_and_changed_line() -> None:
    module = "execution/submission/risk.py"
    changed = mutant_of(
        module, "execution.submission.risk.x_check__mutmut_3", "-  a < b\n+  a <= b"
    )
    assert changed == Mutant("risk.check", "a <= b")
    method = "execution.submission.risk.xǁPortfolioExposureǁadd__mutmut_1"
    removed = mutant_of(module, method, "-    case _:\n-        return None")
    assert removed == Mutant("risk.PortfolioExposure.add", "− case _: return None")
