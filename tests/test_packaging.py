"""What the project declares: one version, one list of dependencies, commands and a licence."""

import importlib
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pruning_core import __version__

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = PYPROJECT["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def pins(name: str) -> dict[str, str]:
    """{package: version} of a requirements file; the files that it includes are left out."""
    lines = [line for line in read(name).splitlines() if line and not line.startswith(("#", "-r "))]
    pairs = [line.split("==") for line in lines]
    return {canonicalize_name(package): version for package, version in pairs}


def ranges(declared: list[str]) -> dict[str, Requirement]:
    """{package: range} of a list in pyproject.toml; the project's own extras are left out."""
    requirements = [Requirement(line) for line in declared]
    return {
        canonicalize_name(r.name): r
        for r in requirements
        if canonicalize_name(r.name) != PROJECT["name"]
    }


@pytest.mark.parametrize(
    ("file", "declared"),
    [
        ("requirements.txt", PROJECT["dependencies"]),
        ("requirements-dask.txt", EXTRAS["dask"]),
        ("requirements-dev.txt", EXTRAS["dev"]),
    ],
)
def test_pins_and_ranges_name_the_same_packages(file: str, declared: list[str]) -> None:
    pinned = pins(file)
    ranged = ranges(declared)
    assert pinned.keys() == ranged.keys()
    assert not {
        package: version
        for package, version in pinned.items()
        if not ranged[package].specifier.contains(version)
    }


def test_files_and_extras_include_the_same() -> None:
    included = {
        name: re.findall(r"^-r (\S+)$", read(name), re.MULTILINE)
        for name in ("requirements-dask.txt", "requirements-dev.txt")
    }
    assert included == {
        "requirements-dask.txt": ["requirements.txt"],
        "requirements-dev.txt": ["requirements-dask.txt"],
    }
    assert f"{PROJECT['name']}[dask]" in EXTRAS["dev"]


def test_the_build_system_is_one_of_the_development_tools() -> None:
    assert set(PYPROJECT["build-system"]["requires"]) <= set(EXTRAS["dev"])


def test_the_version_stands_in_one_place() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert "version" not in PROJECT
    source = PYPROJECT["tool"]["hatch"]["version"]["path"]
    assert read(source).count(f'__version__ = "{__version__}"') == 1
    assert f"## [{__version__}]" in read("CHANGELOG.md")


@pytest.mark.parametrize("command", PROJECT["scripts"])
def test_each_command_is_a_function(command: str) -> None:
    module, function = PROJECT["scripts"][command].split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_the_licence_is_mit() -> None:
    assert PROJECT["license"] == "MIT"
    assert read("LICENSE").startswith(
        "MIT License\n\nCopyright (c) 2026 Pruning Explorer contributors\n"
    )


def hooks() -> list[list[str]]:
    """The commands of the pre-commit hooks, in words."""
    return [
        entry.split()
        for entry in re.findall(r"^ +entry: (.+)$", read(".pre-commit-config.yaml"), re.MULTILINE)
    ]


def test_hooks_run_what_make_check_runs_and_a_few_tests() -> None:
    commands = [" ".join(command) for command in hooks()]
    assert commands[:3] == [".venv/bin/ruff check", ".venv/bin/ruff format", ".venv/bin/mypy"]
    assert commands[3].startswith(".venv/bin/python -m pytest ")
    recipe = read("Makefile").replace("$(BIN)", ".venv/bin")
    assert not [command for command in commands if " ".join(command.split()[:3]) not in recipe]


@pytest.mark.parametrize("command", hooks(), ids=" ".join)
def test_each_hook_names_a_tool_and_files_that_exist(command: list[str]) -> None:
    tool, *arguments = command
    assert (Path(sys.executable).parent / Path(tool).name).is_file()
    assert not [each for each in arguments if "/" in each and not (ROOT / each).is_file()]


def test_the_whole_check_is_ruff_mypy_the_audit_and_the_tests() -> None:
    """`.ci/run` makes `check`, which makes the README's `test`."""
    assert re.search(r"^check: lint types audit test$", read("Makefile"), re.MULTILINE)
    assert re.search(r"^exec make test check ", read(".ci/run"), re.MULTILINE)
