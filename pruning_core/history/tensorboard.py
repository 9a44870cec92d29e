"""Runs as event files that TensorBoard reads: curves and values as scalars, the plan as text.

An event file is a row of records: the length of the content, its checksum, the content (an `Event`
of TensorBoard's event.proto), and its checksum. The few fields that are needed are encoded here.
"""

import json
import math
import struct
from collections.abc import Iterable, Iterator
from functools import cache

from pruning_core.history.history import History
from pruning_core.history.run import Run
from pruning_core.history.tensors import CURVES, Curves, unpack_curves

VERSION = b"brain.Event:2"
PARTS = 1000
"""Steps of an epoch in the curve of the batches: a step must be a whole number."""
EPOCH_TAGS = ("training loss", "validation loss", "validation {value}")
POLYNOMIAL = 0x82F63B78
"""Of CRC-32C, its bits reversed."""
LARGEST = 3.4e38
STRING = 7
"""TensorFlow's number of the type of texts."""
TENSOR = 2
"""TensorBoard's number of the class of tensors."""


def event_files(history: History, runs: Iterable[Run]) -> dict[str, bytes]:
    """A folder for each run with one event file: path -> content.

    Epochs are steps; the curve of the batches has 1,000 steps for each epoch. Raises HistoryFailed
    for curves that are missing or damaged.
    """
    files = {}
    for run in runs:
        content = history.file(run, CURVES)
        curves = Curves() if content is None else unpack_curves(content)
        name = f"{run.kind}-{run.id}/events.out.tfevents.{run.started:.0f}.{run.id}"
        files[name] = b"".join(map(_record, _events(run, curves)))
    return files


def _events(run: Run, curves: Curves) -> Iterator[bytes]:
    """The events, each an encoded message."""
    last = max([1.0, *(row[0] for row in (*curves.steps, *curves.epochs))])

    def event(epoch: float, step: float, *summaries: bytes) -> bytes:
        when = run.started + (run.seconds or 0.0) * min(1.0, epoch / last)
        summary = b"".join(_part(1, own) for own in summaries)
        return _double(1, when) + _integer(2, round(step)) + _part(5, summary)

    yield _double(1, run.started) + _part(3, VERSION)
    for epoch, loss in curves.steps:
        yield event(epoch, PARTS * epoch, _scalar("batch/loss", loss))
    for epoch, *numbers in curves.epochs:
        tags = [tag.format(value=run.task.value_label) for tag in EPOCH_TAGS]
        pairs = zip(tags, numbers, strict=False)  # not the interval
        yield event(epoch, epoch, *(_scalar(f"epoch/{tag}", number) for tag, number in pairs))
    for epoch, value in curves.updates:
        yield event(epoch, PARTS * epoch, _scalar("update/value", value))
    values = {f"value/{state}": own.value for state, own in run.values.items()}
    left = {f"left/{name}": share for name, share in run.costs.items()}
    yield event(last, 0.0, *(_scalar(tag, number) for tag, number in (values | left).items()))
    texts = {"plan": json.dumps(dict(run.names), indent=2), "note": run.note}
    yield event(last, 0.0, *(_text(tag, text) for tag, text in texts.items() if text))


def _scalar(tag: str, number: float) -> bytes:
    return _part(1, tag.encode()) + b"\x15" + struct.pack("<f", _float(number))


def _float(number: float) -> float:
    """A number that 32 bits can hold."""
    return math.copysign(math.inf, number) if abs(number) > LARGEST else number


def _text(tag: str, text: str) -> bytes:
    """A text as a block of code, so that nothing in it is read as Markdown."""
    lines = "\n".join(f"    {line}" for line in text.splitlines())
    shape = _part(2, _integer(1, 1))
    tensor = _integer(1, STRING) + _part(2, shape) + _part(8, lines.encode(errors="replace"))
    metadata = _part(1, _part(1, b"text")) + _integer(4, TENSOR)
    return _part(1, tag.encode()) + _part(9, metadata) + _part(8, tensor)


def _part(number: int, content: bytes) -> bytes:
    """A field of Protocol Buffers: a text, or a message inside of this one."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _varint(value: int) -> bytes:
    """Seven bits per byte, the lowest first."""
    content = bytearray()
    while value > 0x7F:
        content.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*content, value])


def _record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return length + _checksum(length) + content + _checksum(content)


def _checksum(content: bytes) -> bytes:
    """CRC-32C, rotated and shifted as these files want it."""
    value = 0xFFFFFFFF
    table = _table()
    for byte in content:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    value ^= 0xFFFFFFFF
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@cache
def _table() -> tuple[int, ...]:
    """The checksum of each byte."""

    def of(value: int) -> int:
        for _ in range(8):
            value = value >> 1 ^ POLYNOMIAL * (value & 1)
        return value

    return tuple(map(of, range(256)))
