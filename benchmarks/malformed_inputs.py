"""Malformed inputs of every kind that the program reads, for `malformed_kinds`."""

import io
import json
import pickle
import sqlite3
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

from pruning_core.export.archive import zip_archive
from pruning_core.history import History
from pruning_core.history.archive import FORMAT
from pruning_core.history.database import NAME
from pruning_core.history.run import to_record
from pruning_core.history.tensors import CURVES, MASKS, Curves, pack_curves, pack_masks
from pruning_core.plan import Plan
from pruning_core.sensitivity.scan import COLUMNS
from pruning_core.studies import Measurement, Result, Study
from tests.core.history.history_runs import example
from tests.core.test_hostile_texts import ODD, changed
from tests.core.zoo.uploads.files import (
    bomb,
    lying_header,
    network,
    old_pt,
    png,
    pt,
    zipped,
)

MARK = "hostile_mark"
"""A module that is never imported, unless an input makes the program do it."""
SETTINGS = {"costs": {"macs": 0.5}, "study": {"seeds": 1}, "scan": {"grid": [0.5]}}
RECORD = to_record(example(settings=SETTINGS))


@st.composite
def damaged(draw: st.DrawFn, *contents: bytes) -> bytes:
    """One of the contents with bytes changed, left out, put in, twice, or cut off."""
    content = bytearray(draw(st.sampled_from(contents)))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, max(0, len(content) - 1)))
        end = start + draw(st.sampled_from([1, 1, 2, 8, 200]))
        changes = {
            "set": bytes(draw(st.lists(st.integers(0, 255), min_size=1, max_size=4))),
            "huge": b"\xff" * 8,
            "zero": bytes(end - start),
            "leave out": b"",
            "twice": bytes(content[start:end]) * 2,
        }
        content[start:end] = changes[draw(st.sampled_from(sorted(changes)))]
    if draw(st.booleans()):
        del content[draw(st.integers(0, len(content))) :]
    return bytes(content)


class Harmful:
    """Pickled, it runs a command when it is read."""

    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self.call = call
        self.arguments = arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call, self.arguments


def harmful() -> list[Any]:
    """Objects that run code when they are unpickled."""
    import importlib
    import os
    import subprocess

    return [
        Harmful(os.system, "true"),
        Harmful(eval, "__import__('os').system('true')"),
        Harmful(exec, "import os; os.system('true')"),
        Harmful(importlib.import_module, MARK),
        Harmful(subprocess.call, ["true"]),
        Harmful(torch.load, "/etc/hostname"),
    ]


def checkpoints() -> list[bytes]:
    """Files of torch.save that hold no plain state_dict."""
    state = network().state_dict()
    first = next(iter(state))
    huge = torch.empty(1).expand(1 << 40)
    odd: list[Any] = [5, [], None, {}, {"a": {}}, {1: torch.ones(2)}, {first: "text"}, network()]
    odd += [{first: huge}, {first: torch.ones(2, 2).to_sparse()}, {"x" * 100_000: torch.ones(1)}]
    odd += [{first: torch.full((2,), float("nan"))}, {"state_dict": {"a": {"b": torch.ones(1)}}}]
    odd += [{f"t{n}": torch.ones(1) for n in range(500)}]
    packed = [pt({first: own}) for own in harmful()] + [old_pt({first: own}) for own in harmful()]
    raw = [pickle.dumps(own, protocol) for own in harmful() for protocol in (0, 2, 4)]
    return [*(form(own) for own in odd for form in (pt, old_pt)), *packed, *raw, bomb()]


def tensor_headers() -> st.SearchStrategy[bytes]:
    """Safetensors files whose header is another one."""
    content = save(network().state_dict())
    (length,) = struct.unpack("<Q", content[:8])
    header = content[8 : 8 + length].decode()
    data = content[8 + length :]

    def made(text: str) -> bytes:
        raw = text.encode(errors="replace")
        return struct.pack("<Q", len(raw)) + raw + data

    return st.one_of(changed(header).map(made), damaged(content), st.just(lying_header()))


def arrays() -> list[bytes]:
    """Files of numpy.savez with objects, and with shapes that are not theirs."""
    files = []
    for own in (np.array(harmful(), dtype=object), np.ones(3), np.array(["text"])):
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=True, **{"conv1.weight": own})
        files.append(buffer.getvalue())
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n"
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    return [*files, zipped({"conv1.weight.npy": head + bytes(64)})]


def image_zips() -> list[bytes]:
    """Zips with hostile names, links, passwords, and pictures that are none."""
    names = ["../x.png", "/etc/x.png", "a/../../x.png", "C:/x.png", "a\\..\\..\\x.png", "a/\0.png"]
    made = [zipped({f"{name}": png((1, 2, 3))}) for name in names]
    deep = {"/".join("abcdefghijkl") + "/x.png": png((1, 2, 3)), "a/" + "n" * 300 + ".png": b""}
    made += [zipped({name: own}) for name, own in deep.items()]
    made += [zipped({"a/x.png": bytes(40)}), zipped({}), zipped({"a/x.png": huge_picture()})]
    made += [zipped({"a/x.png": bytes(30 << 20)}, zipfile.ZIP_DEFLATED)]
    link = zipfile.ZipInfo("a/x.png")
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    return [*made, buffer.getvalue()]


def huge_picture() -> bytes:
    """A PNG header that names 4 billion pixels."""
    content = png((1, 2, 3))
    return content[:16] + struct.pack(">II", 65535, 65535) + content[24:]


def pictures() -> list[bytes]:
    """Small pictures in every format."""
    forms = []
    for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        buffer = io.BytesIO()
        Image.radial_gradient("L").resize((20, 16)).convert("RGB").save(buffer, form)
        forms.append(buffer.getvalue())
    return [*forms, huge_picture()]


def curve_table() -> bytes:
    """A table of curves with every column."""
    row = dict.fromkeys(COLUMNS, "1") | {"why": "", "in_full": ""}
    return ("\n".join([",".join(row), *[",".join(row.values())] * 5]) + "\n").encode()


def odd_curves(odd: bytes) -> bytes:
    """A table of curves whose last row has odd values."""
    row = dict.fromkeys(COLUMNS, "1") | json.loads(odd)
    return curve_table() + ",".join(row.values()).encode(errors="replace")


def odd_texts(names: tuple[str, ...]) -> st.SearchStrategy[bytes]:
    """JSON objects: some of these names -> odd texts."""
    return st.dictionaries(st.sampled_from(names), ODD.map(str), min_size=1, max_size=4).map(
        lambda odd: json.dumps(odd).encode()
    )


def result() -> Result:
    """A finished run of a study."""
    measured = Measurement(359, 0.9, 0.87, 0.93)
    (first, *_) = Study(Plan(model="lenet5")).runs
    return Result(first, measured, measured, None, 0, 256, 9, 5, 8, 4, None, None, 2.0)


def history_of(folder: Path) -> History:
    """Two runs, one with files."""
    history = History(folder)
    masks = pack_masks({"conv1.weight": torch.tensor([True, False, True])})
    curves = pack_curves(Curves(((0.5, 1.0),)))
    history.save(example(id="a" * 12, started=1.0), {MASKS: masks, CURVES: curves})
    history.save(example(id="b" * 12, parent="a" * 12, started=2.0, settings=SETTINGS))
    with sqlite3.connect(folder / NAME) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return history


def changed_list(archive: bytes) -> st.SearchStrategy[bytes]:
    """The zip of runs with odd values in its list, and the files as they are."""
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        entries = {name: source.read(name) for name in source.namelist()}
    (first, *others) = json.loads(entries["runs.json"])["runs"]

    def made(run: str) -> bytes:
        try:
            runs = [json.loads(run), *others]
        except ValueError:  # cut short
            runs = [run]
        text = json.dumps({"format": FORMAT, "runs": runs})
        return zip_archive(entries | {"runs.json": text.encode()})

    return changed(json.dumps(first)).map(made)


@st.composite
def changed_rows(draw: st.DrawFn, folder: Path) -> bytes:
    """The database with an odd value in one of its fields."""
    path = folder / NAME
    content = path.read_bytes()
    columns = [
        "parent",
        "kind",
        "state",
        "started",
        "record",
        "note",
        "tags",
        "pinned",
        "deleted",
        "worker",
    ]
    value = draw(st.one_of(ODD, changed(RECORD)))
    plain = value if isinstance(value, float | str | None) else json.dumps(value)
    plain = plain.replace("\ud800", "\ufffd") if isinstance(plain, str) else plain
    try:
        with sqlite3.connect(path) as connection:
            record = isinstance(value, str) and value.startswith("{")
            column = "record" if record else draw(st.sampled_from(columns))
            connection.execute(f"UPDATE OR IGNORE runs SET {column} = ?", (plain,))
        connection.close()
        return path.read_bytes()
    except sqlite3.IntegrityError:
        return content[:100]
    finally:
        path.write_bytes(content)
