"""Event files of TensorBoard, read by a reader of their own."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pruning_core.cli.main import main
from pruning_core.history import History, event_files
from pruning_core.history.tensors import CURVES, Curves, pack_curves
from tests.core.history.history_runs import PLAN, example

CURVE = Curves(
    steps=((0.5, 2.0), (1.0, 1.5), (2.0, float("nan"))),
    epochs=((1.0, 1.8, 1.6, 0.7, 0.6, 0.8, 0.0), (2.0, 1.2, 1.1, 0.85, 0.8, 0.9, 1.0)),
    updates=((1.5, 0.4),),
)


def checksum(content: bytes) -> int:
    """CRC-32C bit by bit."""
    value = 0xFFFFFFFF
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0x82F63B78 if value & 1 else value >> 1
    return value ^ 0xFFFFFFFF


def records(content: bytes) -> Iterator[bytes]:
    """The contents of the records; their checksums must fit."""
    at = 0
    while at < len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        own = content[at + 12 : at + 12 + length]
        for start, part in ((at + 8, content[at : at + 8]), (at + 12 + length, own)):
            (kept,) = struct.unpack_from("<I", content, start)
            plain = kept - 0xA282EAD8 & 0xFFFFFFFF
            assert (plain >> 17 | plain << 15) & 0xFFFFFFFF == checksum(part)
        yield own
        at += 16 + length


def message(content: bytes) -> dict[int, list[Any]]:
    """Number of a field -> its values, of a message of Protocol Buffers."""
    found: dict[int, list[Any]] = {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = content[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(content):
        key = varint()
        form = {1: "<d", 5: "<f"}.get(key & 7)
        size = struct.calcsize(form) if form else varint()
        value: Any = size
        if form:
            (value,) = struct.unpack_from(form, content, at)
        elif key & 7 == 2:
            value = content[at : at + size]
        at += size if key & 7 else 0
        found.setdefault(key >> 3, []).append(value)
    return found


def test_a_run_is_read_back_with_its_curves_values_and_plan(tmp_path: Path) -> None:
    assert checksum(b"123456789") == 0xE3069283
    history = History(tmp_path)
    run = example(seconds=10.0, started=1000.0, note="<b>good</b>")
    history.save(run, {CURVES: pack_curves(CURVE)})
    plain = example(started=2000.0, values={}, counts={}, stored_bytes={})
    history.save(plain)
    files = event_files(history, history.runs())
    name = f"tune-{run.id}/events.out.tfevents.1000.{run.id}"
    assert set(files) == {name, f"tune-{plain.id}/events.out.tfevents.2000.{plain.id}"}
    version, *events = map(message, records(files[name]))
    assert (version[1], version[3]) == ([1000.0], [b"brain.Event:2"])
    scalars: dict[str, list[tuple[int, object]]] = {}
    texts = {}
    for event in events:
        assert 1000.0 <= event[1][0] <= 1010.0
        for value in map(message, message(event[5][0]).get(1, [])):
            tag = value[1][0].decode()
            if 2 in value:
                scalars.setdefault(tag, []).append((event[2][0], pytest.approx(value[2][0])))
            else:
                texts[tag] = message(value[8][0])[8][0].decode()
                assert message(message(value[9][0])[1][0]) == {1: [b"text"]}
    assert scalars["batch/loss"][:2] == [(500, 2.0), (1000, 1.5)]
    assert scalars["batch/loss"][2][0] == 2000
    assert scalars["epoch/training loss"] == [(1, 1.8), (2, 1.2)]
    assert scalars["epoch/validation loss"] == [(1, 1.6), (2, 1.1)]
    assert scalars["epoch/validation accuracy"] == [(1, 0.7), (2, 0.85)]
    assert scalars["update/value"] == [(1500, 0.4)]
    assert scalars["value/tuned"] == [(0, 0.85)]
    assert scalars["left/macs"] == [(0, 0.5)]
    assert json.loads(texts["plan"]) == json.loads(PLAN.to_json())
    assert texts["note"] == "    <b>good</b>"


def test_the_command_writes_a_folder_for_each_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNING_EXPLORER_HISTORY", str(tmp_path / "history"))
    run = example()
    History(tmp_path / "history").save(run)
    logs = tmp_path / "logs"
    for _ in range(2):  # the second time over the first one
        assert main(["runs", "export", "--format", "tensorboard", "--file", str(logs)]) == 0
    (file,) = logs.glob("*/*")
    assert file.parent.name == f"tune-{run.id}"
    assert len(list(records(file.read_bytes()))) > 2
