"""The kinds of input that the program reads, and how it reads each; for `malformed`."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from safetensors.torch import save

from benchmarks.malformed_inputs import (
    arrays,
    changed_list,
    changed_rows,
    checkpoints,
    curve_table,
    damaged,
    history_of,
    image_zips,
    odd_curves,
    odd_texts,
    pictures,
    result,
    tensor_headers,
)
from explorer.session import url
from explorer.texts.run_words import run_title
from pruning_core.history import History, event_files, import_zip, to_csv, to_zip, tree_order
from pruning_core.history.database import NAME
from pruning_core.history.run import to_record
from pruning_core.history.tables import differing_fields
from pruning_core.history.unfinished import FILE, Jobs
from pruning_core.model.mask_files import read_masks
from pruning_core.plan import Plan
from pruning_core.search.record_log import FileLog
from pruning_core.sensitivity.scan import COLUMNS, from_csv
from pruning_core.studies import Study
from pruning_core.studies.store import file_name, load_result, save_result
from pruning_core.subjects.files import read_file
from pruning_core.training.state_files import pack_state, unpack_state
from pruning_core.types import PruningError
from pruning_core.workspaces import open_workspace
from pruning_core.zoo.checkpoints import SHIPPED, Card
from pruning_core.zoo.read_image import read_image
from pruning_core.zoo.uploads import inspect, store_images, uploads
from tests.core.test_hostile_texts import changed
from tests.core.zoo.uploads.files import flowers, network, old_pt, pt, zipped

SUBJECT = """
[mine]
model = "mine.nets:build"
data = "mine.data:loaders"
weights = "weights.safetensors"
classes = ["a", "b"]
outputs = [0, 1]
samples = 100
arguments = { width = 8 }
"""
IMAGES_CARD = {
    **{"kind": "images", "title": "a", "file": "a.zip", "root": ".", "content": "c"},
    "summary": "3 classes",
}
NETWORK_CARD = {
    **{"kind": "network", "architecture": "vgg", "dataset": "a", "classes": 2, "names": []},
    **{"notes": [], "auxiliary": False, "file": "f", "weights": "w", "masks": ""},
    "transform": {"channels": 1, "height": 8, "width": 8, "resize": 8, "mean": [0], "std": [1]},
}
"""Cards of uploads."""
LOG = b'{"ratios": {"a": 0.5}, "value": 0.9}\n' * 5
"""Evaluations of a search."""
JOB = json.dumps({"command": "run", "plan": "{}", "scan": {"layers": ["a"]}})


@dataclass(frozen=True)
class Kind:
    """A kind of input. whole: one that is read without a sentence; inputs: malformed ones; read:
    what the program does with them, in a folder.
    """

    name: str
    whole: bytes
    inputs: st.SearchStrategy[bytes]
    read: Callable[[bytes, Path], object]


def written(folder: Path, name: str, content: bytes) -> Path:
    """A file with this content."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def read_history(content: bytes, folder: Path) -> None:
    """A database in the place of the history's."""
    written(folder / "history", NAME, content)
    show(History(folder / "history"))


def read_runs(content: bytes, folder: Path) -> None:
    """A zip of runs is added to an empty history."""
    history = History(folder / "target")
    import_zip(history, io.BytesIO(content))
    show(history)


def show(history: History) -> None:
    """All that a page and a command read of runs. Raises PruningError with what they say of it."""
    runs = history.runs()
    to_csv(runs)
    differing_fields(runs)
    for _, run in tree_order(runs):
        to_record(run)
        run_title(run)
        assert isinstance((run.costs, run.model, run.final, run.note, run.tags), tuple)
        event_files(history, [replace(run, files={})])
    if notes := history.reading_notes:  # the page shows them, and what can be read
        raise PruningError(" ".join(notes))


def read_link(content: bytes, folder: Path) -> None:
    """A page's address. Raises PruningError with what the page says about it."""
    if sentences := url.read(json.loads(content))[1]:
        raise PruningError(max(sentences, key=len))


def read_upload_card(content: bytes, folder: Path) -> object:
    """The list of uploads, with one whose card has this content."""
    written(folder / "uploads" / ("a" * 32), "card.json", content)
    return uploads()


def read_result(content: bytes, folder: Path) -> object:
    """A run of a study, as `study` loads it."""
    written(folder, file_name(result().run), content)
    return load_result(result().run, folder)


def read_evaluations(content: bytes, folder: Path) -> object:
    """The evaluations that a search finds."""
    written(folder, "evaluations.jsonl", content)
    return FileLog(folder).read(0)


def read_job(content: bytes, folder: Path) -> None:
    """A job that was interrupted is listed, then carried out again."""
    jobs = Jobs(folder / "jobs")
    written(folder / "jobs" / ("a" * 12), FILE, content)
    assert len(jobs.interrupted()) <= 1
    carried = jobs.begin("a" * 12, {})
    assert carried is not None
    carried.close(delete=True)


def read_text(read: Callable[[str], object]) -> Callable[[bytes, Path], object]:
    """Reads a text that is not always UTF-8, as the commands do."""
    from pruning_core.cli import files

    return lambda content, folder: read(files.read_text(written(folder, "text", content), "file"))


def either(text: str) -> st.SearchStrategy[bytes]:
    """A JSON text with an odd value, or with other bytes."""
    odd = changed(text).map(lambda own: own.encode(errors="replace"))
    return st.one_of(odd, damaged(text.encode()))


def always_the_same(each: int) -> settings:
    """Draws so many inputs, the same ones in every run."""
    return settings(
        max_examples=each,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def kinds(folder: Path) -> list[Kind]:
    """All kinds. folder: for the files that they start from."""
    return [*_tensors(), *_pictures(), *_texts(), *_kept(folder)]


def _tensors() -> list[Kind]:
    state = network().state_dict()
    space = open_workspace("lenet5", "digits")
    masks = {layer.name: np.ones(layer.shape, dtype=bool) for layer in space.layers}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **masks)

    def checkpoint(content: bytes, at: Path) -> object:
        return inspect(content, "vgg", (3, 8, 8))

    def given(content: bytes, at: Path) -> object:
        return read_masks(written(at, "masks", content), space.model, space.layers)

    files = st.one_of(damaged(pt(state), old_pt(state)), st.sampled_from(checkpoints()))
    packed = st.one_of(damaged(buffer.getvalue()), st.sampled_from(arrays()))
    return [
        Kind("checkpoint, .pt", pt(state), files, checkpoint),
        Kind("checkpoint, safetensors", save(state), tensor_headers(), checkpoint),
        Kind("masks, .npz", buffer.getvalue(), packed, given),
    ]


def _pictures() -> list[Kind]:
    zips = st.one_of(damaged(zipped(flowers(2))), st.sampled_from(image_zips()))
    images = pictures()
    return [
        Kind(
            "zip of images",
            zipped(flowers()),
            zips,
            lambda content, at: store_images(content, "x.zip", "me"),
        ),
        Kind(
            "image",
            images[0],
            damaged(*images),
            lambda content, at: read_image(written(at, "x.png", content)),
        ),
    ]


def _texts() -> list[Kind]:
    table = curve_table()
    curves = st.one_of(damaged(table), odd_texts(COLUMNS).map(odd_curves))
    texts: dict[str, tuple[Callable[[str], object], str]] = {
        "plan.json": (Plan.from_json, Plan().to_json()),
        "study.json": (Study.from_json, Study(Plan()).to_json()),
        "model card": (Card.from_json, (SHIPPED / "lenet5-digits.json").read_text()),
    }
    subject = SUBJECT.encode()
    return [
        *(
            Kind(name, text.encode(), either(text), read_text(read))
            for name, (read, text) in texts.items()
        ),
        Kind("curves.csv", table, curves, read_text(from_csv)),
        Kind(
            "subject file",
            subject,
            damaged(subject),
            lambda content, at: read_file(written(at, "mine.toml", content)),
        ),
        Kind("link", b"{}", odd_texts(url.PARAMS), read_link),
    ]


def _kept(folder: Path) -> list[Kind]:
    history = history_of(folder / "history")
    database = (history.folder / NAME).read_bytes()
    rows = st.one_of(damaged(database), changed_rows(history.folder))
    archive = to_zip(history, history.runs())
    zips = st.one_of(damaged(archive), changed_list(archive))
    save_result(result(), folder)
    saved = (folder / file_name(result().run)).read_text()
    cards = tuple(map(json.dumps, (IMAGES_CARD, NETWORK_CARD)))
    state = pack_state({"epoch": 3, "weights": {"a": torch.ones(3)}, "loss": 0.5}) or b""
    odd_cards = st.sampled_from(cards).flatmap(either)
    return [
        Kind("database of runs", database, rows, read_history),
        Kind("zip of runs", archive, zips, read_runs),
        Kind("card of an upload", cards[0].encode(), odd_cards, read_upload_card),
        Kind("result of a study's run", saved.encode(), either(saved), read_result),
        Kind("evaluations of a search", LOG, damaged(LOG), read_evaluations),
        Kind("unfinished job", JOB.encode(), either(JOB), read_job),
        Kind("state of a training", state, damaged(state), lambda own, at: unpack_state(own)),
    ]
