"""The public names exist and have an example; every example of the core runs."""

import ast
import doctest
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import pruning_core

CORE = Path(pruning_core.__file__).parent
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def examples() -> Iterator[tuple[str, str, str]]:
    """Module, name and docstring of everything in the core that has an example."""
    for path in sorted(CORE.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        parts = path.relative_to(CORE.parent).with_suffix("").parts
        module = ".".join(parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(source)) if ">>>" in source else ():
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                text = ast.get_docstring(node)
                if text and ">>>" in text:
                    yield module, getattr(node, "name", module), text


EXAMPLES = tuple(examples())


@pytest.mark.parametrize(("module", "name", "text"), EXAMPLES, ids=lambda value: str(value)[:40])
def test_examples_of_docstrings_run(module: str, name: str, text: str) -> None:
    namespace = dict(vars(importlib.import_module(module)))
    parsed = doctest.DocTestParser().get_doctest(text, namespace, name, module, 0)
    report: list[str] = []
    outcome = doctest.DocTestRunner(optionflags=FLAGS).run(parsed, out=report.append)
    assert outcome.attempted
    assert not outcome.failed, "".join(report)


def test_every_public_name_has_an_example() -> None:
    assert 10 <= len(pruning_core.__all__) <= 15
    shown = {name for _, name, _ in EXAMPLES}
    missing = [name for name in pruning_core.__all__ if name not in shown]
    assert not missing
    assert all(getattr(pruning_core, name).__doc__ for name in pruning_core.__all__)
