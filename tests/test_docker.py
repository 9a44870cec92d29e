"""The Dockerfile agrees with the project: files, command, user, health check."""

import json
import re
import shlex
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from explorer.launch import PORT, parser
from explorer.logs import FORMATS
from explorer.logs import VARIABLE as LOG_FORMAT
from pruning_core.zoo.request import VARIABLE as DATA

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LINES = [line for line in TEXT.replace("\\\n", " ").splitlines() if line and line[0] != "#"]


def steps(name: str) -> list[str]:
    """What follows the instruction of that name, at each of its places in the last stage."""
    last = max(number for number, line in enumerate(LINES) if line.startswith("FROM "))
    return [line.partition(" ")[2] for line in LINES[last:] if line.startswith(f"{name} ")]


def context() -> set[str]:
    """Files and folders that .dockerignore lets through."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    return {line[1:] for line in lines if line.startswith("!")}


def test_it_copies_all_that_the_wheel_needs_and_no_more() -> None:
    copied = [
        source
        for line in LINES
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    ]
    assert all((ROOT / source).exists() for source in copied)
    assert set(copied) == context()
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    project = PROJECT["project"]
    needed = {*wheel["packages"], *wheel["force-include"], project["readme"], "requirements.txt"}
    needed |= {"pyproject.toml", *project["license-files"]}
    assert not [file for file in needed if not any(fnmatch(file, f"{own}*") for own in copied)]


def test_the_python_is_one_that_the_project_supports() -> None:
    images = {line.split()[1] for line in LINES if line.startswith("FROM ")}
    assert images == {f"python:{PROJECT['project']['requires-python'].removeprefix('>=')}-slim"}


def test_it_serves_without_the_rights_of_root() -> None:
    (user,) = steps("USER")
    assert re.fullmatch(r"[1-9]\d*", user)
    assert any(f"--uid {user} " in line for line in steps("RUN"))
    (command,) = steps("ENTRYPOINT")
    program, *arguments = json.loads(command)
    assert Path(program).name in PROJECT["project"]["scripts"]
    assert parser().parse_args(arguments).host == "0.0.0.0"


def test_its_environment_and_health_check_are_those_of_the_code() -> None:
    (environment,) = steps("ENV")
    values = dict(part.split("=", 1) for part in shlex.split(environment))
    assert values[LOG_FORMAT] in FORMATS
    assert [values[DATA]] == steps("VOLUME")
    assert steps("EXPOSE") == [str(PORT)]
    (check,) = steps("HEALTHCHECK")
    python, flag, program = json.loads(check[check.index("[") :])
    assert (Path(python).name, flag) == ("python", "-c")
    assert f"http://127.0.0.1:{PORT}/_stcore/health" in program
    compile(program, "HEALTHCHECK", "exec")
