"""Every kind of write on a full disk: one sentence, nothing lost, no partial file.

    OMP_NUM_THREADS=1 nice -n 15 python -m benchmarks.full_disk

Needs root on Linux: it mounts a small tmpfs. Each kind of write is done there once with room
enough. Then it is done again, with other content, while the disk has no room for a new file, and
while it has 0 bytes, 4 kB, a half of what the first write took, and that less 4 kB. The process
must end with a status other than 0 and a last line that says why; what the history cannot keep is
one line beside a command that succeeds. Every file must be the earlier one or a whole new one, no
part of a file may stay, and no kept run may be lost. At last there is room again, and the same
write must succeed.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

from benchmarks.forked import Ended, broken_files, commands, files, forked, history_faults, prepare
from pruning_core.cli.main import main
from pruning_core.history import VARIABLE as HISTORY
from pruning_core.history import History
from pruning_core.history import unfinished as jobs
from pruning_core.training.journal import Journal
from pruning_core.types import PruningError
from pruning_core.zoo import recipes
from pruning_core.zoo.fetch import digest_of, fetch
from pruning_core.zoo.request import VARIABLE as DATA
from pruning_core.zoo.uploads import Statement, store_images, store_network
from tests.core.zoo.uploads.files import TRANSFORM, flowers, network, pt, zipped

PAGE = 4096
SIZE = 64 << 20
INODES = 4000
BALLAST = ".ballast"
FULL = (
    *("No space left on device", "database or disk is full"),
    *("disk I/O error", "unable to open database file"),
)
"""Reasons of the system, then of SQLite; its last two are also those of files beside a database."""


@dataclass(frozen=True)
class Places:
    """Folders. small: on the small disk; large: on another one; again: is it the second write?"""

    small: Path
    large: Path
    again: bool = False

    @property
    def inputs(self) -> Path:
        """What the commands read."""
        return self.large / ("again" if self.again else "first")


Work = Callable[[Places], int]


def command(name: str, at: Places) -> int:
    """A command whose output is on the small disk, and the history on another one."""
    os.environ[HISTORY] = str(at.large / "history")
    return main(commands(at.inputs, at.small / "out")[name])


def history(at: Places) -> int:
    """A command whose history is on the small disk, and the output on another one."""
    os.environ[HISTORY] = str(at.small / "history")
    return main(commands(at.inputs, at.large / "out")["run"])


def unfinished(name: str, at: Places) -> int:
    """A command whose unfinished job is on the small disk, and all else on another one."""
    os.environ[DATA] = str(at.small / "data")
    with patch.object(jobs, "Journal", partial(Journal, every=0.0, share=1e9)):
        return main(commands(at.inputs, at.large / "out")[name])


def imported(at: Places) -> int:
    os.environ[HISTORY] = str(at.small / "history")
    return main(["runs", "import", "--file", str(at.inputs / "runs.zip")])


def tagged(at: Places) -> int:
    """A note and a tag on the runs of the history."""
    os.environ[HISTORY] = str(at.small / "history")
    status = 0 if at.again else imported(at)
    names = json.loads((at.large / "ids.json").read_text())
    return status or main(["runs", "tag", *names, "--note", "a note " * 200, "--tags", "a,b"])


def temporary(name: str, at: Places) -> int:
    """A command whose temporary files are on the small disk, and the output on another one."""
    tempfile.tempdir = str(at.small)
    return main(commands(at.inputs, at.large / "out")[name])


def trained(at: Places) -> int:
    """Weights and a model card in the data folder."""
    os.environ[DATA] = str(at.small / "data")
    own = replace(recipes.recipe("lenet5", "digits"), epochs=1, seed=int(at.again))
    recipes.RECIPES["lenet5", "digits"] = own
    return main(["train", "lenet5-digits"])


def uploaded(kind: str, at: Places) -> int:
    """A network or a zip of images from a browser."""
    os.environ[DATA] = str(at.small / "data")
    try:
        images = store_images(zipped(flowers(20 + at.again)), "mine.zip", "me").name
        if kind == "network":
            content = pt(network(seed=int(at.again)).state_dict())
            store_network(content, "best.pt", Statement("vgg", images, TRANSFORM), "me")
    except PruningError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def downloaded(at: Places) -> int:
    """A file of a server."""
    source = at.inputs / "runs.zip"
    target = at.small / "raw" / at.inputs.name
    try:
        fetch(source.as_uri(), target, "sha256", digest_of(source))
    except OSError as error:  # which every caller puts into its sentence
        print(f"The download failed ({error}).", file=sys.stderr)
        return 2
    return 0


def printed(at: Places) -> int:
    """Standard output on a full disk."""
    if at.again:
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    return main(["list", "--json"])


WRITTEN = (
    *("run", "study", "search", "scan", "preview", "ratios", "farthest", "thin", "store", "time"),
    *("runs export", "runs export CSV"),
)
KINDS: dict[str, Work] = {
    **{f"`{name}`, its files": partial(command, name) for name in WRITTEN},
    "history of a run, its tensors": history,
    "unfinished job of `run`": partial(unfinished, "run"),
    "unfinished job of `scan`": partial(unfinished, "scan"),
    "history, `runs import`": imported,
    "history, notes and tags": tagged,
    "`train`: weights, model card": trained,
    "upload of images": partial(uploaded, "images"),
    "upload of a network": partial(uploaded, "network"),
    "download": downloaded,
    "temporary files of `thin`": partial(temporary, "thin"),
    "temporary files of `time`": partial(temporary, "time"),
    "standard output": printed,
}
BESIDE = ("history of a run, its tensors", "unfinished job of `run`", "unfinished job of `scan`")
"""Kinds that fail in a line beside a command that succeeds."""


@dataclass
class Row:
    """What a kind of write did. faults: sentences."""

    refused: int = 0
    done: int = 0
    faults: list[str] = field(default_factory=list)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """An empty disk in this folder."""
    folder.mkdir(exist_ok=True)
    options = f"size={SIZE},nr_inodes={INODES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def leave(folder: Path, free: int | None) -> None:
    """Fills the disk so that this many bytes are free; None: so that no new file fits."""
    (folder / BALLAST).mkdir()
    if free is None:
        for number in range(os.statvfs(folder).f_ffree):
            (folder / BALLAST / str(number)).touch()
        return
    state = os.statvfs(folder)
    (folder / BALLAST / "0").touch()
    with (folder / BALLAST / "0").open("wb") as file:
        file.write(bytes(max(0, state.f_bavail * state.f_bsize - free)))


def used(folder: Path) -> int:
    """Bytes on the disk."""
    state = os.statvfs(folder)
    return (state.f_blocks - state.f_bfree) * state.f_bsize


def measured(name: str, large: Path) -> Row:
    """One kind of write, at every level."""
    row = Row()
    small = large / "small"
    state = large / "state"
    shutil.rmtree(state, ignore_errors=True)
    with small_disk(small):
        first = forked(partial(KINDS[name], Places(small, large)))
        row.faults += [first.output] * bool(first.status)
        need = used(small)
        shutil.copytree(small, state)
    for free in (None, 0, PAGE, need // 2, max(0, need - PAGE)):
        with small_disk(small):
            shutil.copytree(state, small, dirs_exist_ok=True)
            before = files(small)
            kept = _kept(small)
            leave(small, free)
            ended = forked(partial(KINDS[name], Places(small, large, again=True)))
            shutil.rmtree(small / BALLAST)
            faults = [*_wrong_end(name, ended, row), *_lost(small, before, kept)]
            ended = forked(partial(KINDS[name], Places(small, large, again=True)))
            if ended.status and name != "standard output":
                faults.append(f"with room again: {ended.output[-300:]}")
            faults += _lost(small, before, kept)
            row.faults += [f"{free} bytes free: {fault}" for fault in faults]
    return row


def _kept(small: Path) -> set[str]:
    folder = small / "history"
    return {run.id for run in History(folder).runs()} if folder.exists() else set()


def _wrong_end(name: str, ended: Ended, row: Row) -> list[str]:
    """Counts how the process ended; what is wrong with its output."""
    lines = ended.output.splitlines()
    full = [line for line in lines if any(words in line for words in FULL)]
    row.refused += bool(ended.status or (name in BESIDE and full))
    row.done += not ended.status
    if "Traceback" in ended.output or "Exception ignored" in ended.output:
        return [f"a traceback: {ended.output[-300:]}"]
    if ended.status and not full:
        return [f"no line says why: {ended.output[-300:]}"]
    return []


def _lost(small: Path, before: dict[str, bytes], kept: set[str]) -> list[str]:
    """What is lost, broken, or left of a file that was not finished."""
    now = files(small)
    faults = [f"{name} is lost" for name in before if name not in now and "history" not in name]
    faults += broken_files(small / "out") if (small / "out").exists() else []
    parts = [path for path in small.rglob(".*") if path.is_file() or ".partial" in path.name]
    faults += [f"a part is left: {path.relative_to(small)}" for path in parts]
    if (small / "history").exists():
        faults += history_faults(small / "history", kept)
    return faults


def main_table(names: list[str]) -> int:
    """Prints a row per kind of write; the number of faults."""
    faults = 0
    print("| kind of write | refused in a sentence | succeeded | faults |")
    print("| --- | ---: | ---: | ---: |", flush=True)
    with tempfile.TemporaryDirectory() as name:
        large = Path(name)
        os.environ |= {HISTORY: str(large / "history"), DATA: str(large / "data")}
        for folder, less in (("first", 0.0), ("again", 0.1)):
            prepare(large / folder, less)
            run = commands(large / folder, large / "out")["run"]
            zipped_runs = ["runs", "export", "--file", str(large / folder / "runs.zip")]
            for arguments in (run, zipped_runs):
                forked(partial(main, arguments))
            ids = [run.id for run in History(large / "history").runs()]
            (large / "ids.json").write_text(json.dumps(ids[-1:]))
        for kind in names or KINDS:
            row = measured(kind, large)
            faults += len(row.faults)
            print(f"| {kind} | {row.refused} | {row.done} | {len(row.faults)} |", flush=True)
            for fault in row.faults:
                print(f"FAULT {fault}", file=sys.stderr, flush=True)
    return faults


if __name__ == "__main__":
    sys.exit(main_table(sys.argv[1:]) > 0)
