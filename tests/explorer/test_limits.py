"""The limits of a server: one table for flags, variables, help and docs; and memory."""

import argparse
import os
from typing import Any

import pytest

from explorer import memory
from explorer.limits import Limits, add_limits, limits, set_limits
from pruning_core.settings import settings_of
from pruning_core.types import PruningError


def options(*arguments: str) -> argparse.Namespace:
    command = argparse.ArgumentParser()
    add_limits(command)
    return command.parse_args(arguments)


def test_each_limit_has_a_flag_that_sets_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    wanted: dict[str, Any] = {}
    arguments = ["--demo"]
    for entry in settings_of(Limits):
        wanted[entry.name] = entry.most if entry.name == "demo" else entry.least
        if entry.name != "demo":
            arguments += [f"--{entry.name.replace('_', '-')}", str(entry.least)]
    assert set_limits(options(*arguments)) == limits() == Limits(**wanted)
    assert os.environ["PRUNING_EXPLORER_JOB_MINUTES"] == "0.1"
    assert all(f"--{name.replace('_', '-')}" in arguments for name in wanted)


def test_a_demonstration_has_other_defaults() -> None:
    demo = limits({"PRUNING_EXPLORER_DEMO": "1", "PRUNING_EXPLORER_EPOCHS": "5"})
    assert (demo.demo, demo.upload_mb, demo.epochs) == (True, 0, 5)
    assert limits({"PRUNING_EXPLORER_DEMO": "1"}) == Limits(0, epochs=3, job_minutes=10, demo=True)
    assert limits({"PRUNING_EXPLORER_DEMO": "0"}) == limits({}) == Limits()


@pytest.mark.parametrize(
    ("flag", "text", "why"),
    [
        ("sessions", "0", "is 0, outside 1 to 10000."),
        ("upload-mb", "1.5", "must be a whole number, not '1.5'."),
        ("job-minutes", "nan", "is nan, outside 0.1 to 100000."),
        ("epochs", "9" * 6000, f"must be a whole number, not '{'9' * 40}'."),
    ],
)
def test_a_wrong_value_is_one_sentence_and_sets_nothing(flag: str, text: str, why: str) -> None:
    before = dict(os.environ)
    variable = f"PRUNING_EXPLORER_{flag.replace('-', '_').upper()}"
    with pytest.raises(PruningError) as refused:
        set_limits(options(f"--{flag}", text))
    assert str(refused.value) == f"The setting --{flag} ({variable}) {why}"
    assert dict(os.environ) == before


def test_a_limit_of_memory_needs_a_system_that_measures_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = memory.resident_mb()
    if used is not None:
        assert 10 < used < 1e5
        assert memory.is_full(5)
        assert not memory.is_full(int(used) + 1000)
    monkeypatch.setattr(memory, "PROC", memory.PROC / "none")
    assert not memory.is_full(5)
    with pytest.raises(PruningError, match="--memory-mb needs Linux"):
        set_limits(options("--memory-mb", "500"))
