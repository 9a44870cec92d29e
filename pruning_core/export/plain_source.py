"""The source of functions of this package, for scripts that do not import the package."""

import ast
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

PACKAGE = "pruning_core"
Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


def plain_source(*wanted: Callable[..., Any]) -> str:
    """Lines of Python that define these functions, with everything that they use.

    What they use of this package is written out, what they use of others is imported. What a
    definition uses stands before it.

    >>> from pruning_core.zoo.models import stem_stride
    >>> print(plain_source(stem_stride).splitlines()[0])
    Shape = tuple[int, int, int]
    """
    source = _Source()
    for each in wanted:
        source.add(each.__module__, each.__qualname__)
    return source.text()


@dataclass
class _Source:
    """What was collected: import lines of modules, module -> names that are imported from it, the
    (module, name) pairs that were seen, and the lines of each definition.
    """

    modules: set[str] = field(default_factory=set)
    imports: dict[str, set[str]] = field(default_factory=dict)
    seen: set[tuple[str, str]] = field(default_factory=set)
    definitions: list[str] = field(default_factory=list)

    def add(self, module: str, name: str) -> None:
        """The definition of a name in a module, after what it uses. Other names are left out."""
        node = _top_level(module).get(name)
        if node is None or (module, name) in self.seen:
            return
        self.seen.add((module, name))
        if isinstance(node, ast.Import):
            self.modules.add(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom):
            self._add_import(node, name)
        else:
            for used in _names_in(node):
                self.add(module, used)
            self.definitions.append(_text(module, node))

    def _add_import(self, node: ast.ImportFrom, name: str) -> None:
        origin = str(node.module)
        if origin.partition(".")[0] == PACKAGE:
            self.add(origin, name)
        else:
            self.imports.setdefault(origin, set()).add(name)

    def import_lines(self) -> Iterator[str]:
        """One line per module, sorted."""
        yield from sorted(self.modules)
        for module, names in sorted(self.imports.items()):
            yield f"from {module} import {', '.join(sorted(names))}"

    def text(self) -> str:
        """The imports, then the definitions with two empty lines around functions and classes."""
        lines = "\n".join(self.import_lines())
        constants = True
        for definition in self.definitions:
            constant = not definition.startswith(("def ", "class ", "@"))
            lines += ("\n" if constants and constant else "\n\n\n") + definition
            constants = constant
        return lines.strip()


@cache
def _top_level(module: str) -> dict[str, Definition | ast.Import | ast.ImportFrom]:
    """Name -> where a module imports or defines it."""
    nodes: dict[str, Definition | ast.Import | ast.ImportFrom] = {}
    for node in ast.parse(inspect.getsource(sys.modules[module])).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            nodes |= {alias.asname or alias.name.partition(".")[0]: node for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            nodes[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            nodes |= {target.id: node for target in targets if isinstance(target, ast.Name)}
    return nodes


def _names_in(node: ast.AST) -> dict[str, None]:
    return dict.fromkeys(each.id for each in ast.walk(node) if isinstance(each, ast.Name))


def _text(module: str, node: Definition) -> str:
    """The node's own lines, with its decorators."""
    decorators = getattr(node, "decorator_list", [])
    first = min(each.lineno for each in (node, *decorators))
    lines = inspect.getsource(sys.modules[module]).splitlines()
    return "\n".join(lines[first - 1 : node.end_lineno])
