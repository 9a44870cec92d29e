"""Which modules may import which, how long files and functions may be, and which module owns
Streamlit's state.
"""

import ast
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.cases import for_each

ROOT = Path(__file__).resolve().parents[1]
CORE = sorted((ROOT / "pruning_core").rglob("*.py"))
EXPLORER = sorted((ROOT / "explorer").rglob("*.py"))
PRODUCT = [*CORE, *EXPLORER, *sorted(ROOT.glob("*.py"))]
PYTHON = [
    *PRODUCT,
    *sorted((ROOT / "tests").rglob("*.py")),
    *sorted((ROOT / "benchmarks").rglob("*.py")),
]
BROWSER = [
    path
    for path in sorted((ROOT / "explorer").rglob("*"))
    if path.suffix in {".js", ".css", ".html"}
]

# A module imports from its own layer and from the layers before it. No imports run in a cycle.
LAYERS = {
    "types and registry": "errors file_locks intervals last_results random_numbers registry "
    "settings tasks types user_code whole_files",
    "model": "model",
    "axes": "granularity granularity_refusals tied_layers ranking criteria masks start_masks "
    "hand_edits allocation schedule penalties",
    "evaluation and training": "evaluation training repairs backends workers",
    "flows, networks and plans": "zoo workspaces subjects resolved_plan flows plan "
    "pipeline dropout",
    "studies and results": "sensitivity studies search export compress history",
    "command line": "cli __main__",
}
LAYER = {part: number for number, parts in enumerate(LAYERS.values()) for part in parts.split()}
FORBIDDEN_NAMES = {"utils", "helpers", "base", "manager", "common", "misc"}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@dataclass(frozen=True)
class Facts:
    """What the tests ask of a file. Syntax trees of all files would be 850,000 objects."""

    lines: int
    imported: frozenset[str]
    """Dotted names, relative imports made absolute."""
    long_functions: tuple[str, ...]
    packed: tuple[int, ...]
    """Lines that assign several values to as many names."""
    called_found: tuple[int, ...]
    """Lines with a variable `found`: another name says what it is."""
    broad_handlers: tuple[int, ...]
    of_streamlit: frozenset[str]
    """Attributes read from Streamlit itself, as `st.x` or `from streamlit import x`."""


@cache
def facts(path: Path) -> Facts:
    code = path.read_text(encoding="utf-8")
    nodes = list(ast.walk(ast.parse(code, filename=name(path))))
    return Facts(
        len(code.splitlines()),
        frozenset(modules_imported(path, nodes)),
        tuple(long_functions(nodes)),
        tuple(packed_assignments(nodes)),
        tuple(called_found(nodes)),
        tuple(broad_handlers(nodes)),
        frozenset(attributes(nodes)),
    )


def modules_imported(path: Path, nodes: Sequence[ast.AST]) -> Iterator[str]:
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
            module = start + (node.module or "")
            yield module
            yield from (f"{module}.{alias.name}".replace("..", ".") for alias in node.names)


def long_functions(nodes: Sequence[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > 40:
                yield f"{node.name} ({lines})"


def names_caught(handler: ast.ExceptHandler) -> set[str]:
    return (
        {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
        if handler.type
        else {"Exception"}
    )


def packed_assignments(nodes: Sequence[ast.AST]) -> Iterator[int]:
    for node in nodes:
        match node:
            case ast.Assign(targets=[ast.Tuple()], value=ast.Tuple()):
                yield node.lineno


def called_found(nodes: Sequence[ast.AST]) -> Iterator[int]:
    for node in nodes:
        match node:
            case ast.Name(id="found") | ast.arg(arg="found") | ast.MatchAs(name="found"):
                yield node.lineno


def broad_handlers(nodes: Sequence[ast.AST]) -> Iterator[int]:
    for node in nodes:
        if isinstance(node, ast.ExceptHandler) and names_caught(node) & {
            "Exception",
            "BaseException",
        }:
            yield node.lineno


def attributes(nodes: Sequence[ast.AST]) -> Iterator[str]:
    for node in nodes:
        match node:
            case ast.Attribute(value=ast.Name(id="st" | "streamlit"), attr=attribute):
                yield attribute
            case ast.ImportFrom(module="streamlit", names=names):
                yield from (alias.name for alias in names)


def part_of(path: Path) -> str | None:
    """A core file's folder or top module; None for the package's own `__init__`."""
    inside = path.relative_to(ROOT / "pruning_core").with_suffix("").parts
    return None if inside == ("__init__",) else inside[0]


def parts_imported(path: Path) -> set[str]:
    split = (module.split(".") for module in facts(path).imported)
    return {p[1] for p in split if p[0] == "pruning_core" and len(p) > 1 and p[1] in LAYER}


@for_each(CORE)
def test_core_modules_import_only_from_their_layer_and_those_before_it(path: Path) -> None:
    here = part_of(path)
    if here is None:
        return
    assert here in LAYER, f"{name(path)}: give {here!r} a layer here and in docs/architecture.md"
    wrong = {other for other in parts_imported(path) if LAYER[other] > LAYER[here]}
    assert not wrong, f"{name(path)} imports {sorted(wrong)}, which are in a later layer"


def test_every_part_of_a_layer_exists() -> None:
    there = {path.stem for path in (ROOT / "pruning_core").iterdir() if path.suffix in {"", ".py"}}
    assert not LAYER.keys() - there


@for_each(CORE)
def test_the_core_imports_no_user_interface(path: Path) -> None:
    roots = {module.split(".")[0] for module in facts(path).imported}
    assert not roots & {"streamlit", "plotly", "explorer"}


def test_imports_have_no_cycles() -> None:
    graph = {
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p
        for p in [*CORE, *EXPLORER]
    }
    edges = {
        module: {m for m in facts(path).imported if m in graph and m != module}
        for module, path in graph.items()
    }
    while leaves := {module for module, targets in edges.items() if not targets & edges.keys()}:
        edges = {module: targets for module, targets in edges.items() if module not in leaves}
    assert not edges, f"imports run in a cycle among {sorted(edges)}"


@for_each(PRODUCT)
def test_no_module_name_means_everything(path: Path) -> None:
    assert path.stem not in FORBIDDEN_NAMES


@for_each(PYTHON)
def test_files_and_functions_stay_short(path: Path) -> None:
    lines = facts(path).lines
    assert lines <= 400, f"{name(path)} has {lines} lines; at most 400"
    long = facts(path).long_functions
    assert not long, f"{name(path)}: functions over 40 lines: {long}"
    packed = facts(path).packed
    assert not packed, f"{name(path)}: one name per assignment, at lines {packed}"


@for_each(BROWSER)
def test_lines_of_browser_code_stay_short(path: Path) -> None:
    """Ruff holds Python's lines to as many letters."""
    lines = path.read_text(encoding="utf-8").splitlines()
    long = [number for number, line in enumerate(lines, start=1) if len(line) > 100]
    assert not long, f"{name(path)} has lines of more than 100 letters: {long}"


@for_each(PRODUCT)
def test_no_variable_is_called_found(path: Path) -> None:
    lines = facts(path).called_found
    assert not lines, f"{name(path)} calls a variable `found` at lines {lines}: say what it is"


@for_each(PYTHON)
def test_nothing_catches_everything(path: Path) -> None:
    """Three places may: the boundaries of a job's thread and of its process in jobs/, which log the
    traceback and fail the job, and the boundary to code of the user, which makes a sentence of its
    errors.
    """
    boundaries = {"explorer/jobs/job.py", "explorer/jobs/worker.py", "pruning_core/user_code.py"}
    allowed = int(name(path) in boundaries)
    lines = facts(path).broad_handlers
    assert len(lines) <= allowed, f"{name(path)} catches everything at lines {lines}"


OWNERS = {"session_state": "explorer/session/state.py", "query_params": "explorer/session/state.py"}
OWNERS |= {"cache_data": "explorer/session/cache.py", "cache_resource": "explorer/session/cache.py"}


@for_each([p for p in PRODUCT if p not in CORE])
def test_state_and_caches_have_one_owner_each(path: Path) -> None:
    wrong = {
        attribute
        for attribute in facts(path).of_streamlit
        if OWNERS.get(attribute, name(path)) != name(path)
    }
    assert not wrong, (
        f"{name(path)} uses {sorted(wrong)}; that belongs in {sorted({OWNERS[a] for a in wrong})}"
    )


@pytest.mark.parametrize("pure", ["jobs", "charts"])
def test_pure_parts_of_the_page_import_no_streamlit(pure: str) -> None:
    files = [p for p in EXPLORER if p.relative_to(ROOT / "explorer").parts[0] == pure]
    assert files, f"there is no explorer/{pure}; change this test with it"
    assert not [
        name(p) for p in files if any(m.split(".")[0] == "streamlit" for m in facts(p).imported)
    ]


def tracked_text() -> Iterator[tuple[str, str]]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for entry in filter(None, listed.split("\0")):
        try:
            yield entry, (ROOT / entry).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue


def test_no_machine_paths_in_tracked_files() -> None:
    """Nobody's home, workspace or wheel-house may be needed, or named."""
    private = re.compile(
        r"(?<![\w.])/(?:ho" + r"me|ro" + r"ot|wo" + r"rk|Us" + r"ers|opt|mnt)/[\w.]"
    )
    assert not [entry for entry, text in tracked_text() if private.search(text)]
