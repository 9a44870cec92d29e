"""What a long run keeps in a folder while it runs, so that it can continue after a kill."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from pruning_core.tasks.task import Evaluation, Task
from pruning_core.training.state_files import State, packed_evaluation, unpacked_evaluation
from pruning_core.types import PruningError
from pruning_core.whole_files import write_files

EVERY = 10.0
"""Files are written at most once in this time, in seconds."""
SHARE = 0.03
"""At most about this share of the time is spent on writing them."""
DONE = "done"
"""The file with the number of epochs or layers that are kept."""
LARGEST = 2 << 30
"""Most bytes of all files of a run together."""


class Journal:
    """Results of one run in a folder. The interrupted run is carried out again, in the same order,
    with a new journal of the same folder: what is there is not computed again.

    every: least seconds between two writings; share: at most about this share of the time is spent
    on them. sentences: what the user should know, such as that nothing more can be kept: that never
    stops the run. done: how many epochs or layers the results so far are.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Journal(Path(folder), every=0.0).keep("points", lambda: b"[1]")
    ...     Journal(Path(folder)).read("points")
    b'[1]'
    """

    def __init__(self, folder: Path, every: float = EVERY, share: float = SHARE) -> None:
        self.folder = folder
        self.sentences: list[str] = []
        self.done = 0
        self.trainings = 0
        self.measurements: list[State] = []
        self._known: list[State] = []
        self._every = every
        self._share = share
        self._next = time.monotonic() + every
        self._waiting: dict[str, bytes] = {}
        self._sizes: dict[str, int] = {}
        self._stopped = False

    def read(self, name: str) -> bytes | None:
        """What the interrupted run kept by that name; None where nothing can be read."""
        path = self.folder / name
        try:
            whole = path.read_bytes() if path.stat().st_size <= LARGEST else b""
        except FileNotFoundError:
            return None
        except OSError:
            whole = b""
        digest, _, content = whole.partition(b"\n")
        if digest != _digest(content):
            self.sentences.append(
                f"The file {name} of the interrupted run is damaged and not used."
            )
            return None
        return content

    def keep(self, name: str, make: Callable[[], bytes | None], *, final: bool = False) -> None:
        """Keeps a result by that name where it is time to write, instead of the one before.

        final: no other one follows, so it is kept with the next result at the latest. make: called
        only where its bytes are used; None: this result cannot be kept.
        """
        begun = time.monotonic()
        due = begun >= self._next
        if self._stopped or not (due or final):
            return
        if (content := make()) is None:
            self._stop("this flow or network has a state that is not kept")
            return
        self._waiting[name] = _digest(content) + b"\n" + content
        self._sizes[name] = len(content)
        if sum(self._sizes.values()) > LARGEST:
            self._stop(f"its state is larger than {LARGEST >> 30} GiB")
        elif due:
            self._write()
            now = time.monotonic()
            self._next = now + max(self._every, (now - begun) / self._share)

    def _write(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_files(self.folder, {**self._waiting, DONE: str(self.done)})
        except (OSError, PruningError) as error:
            self._stop(str(error).rstrip("."))
        self._waiting = {}

    def _stop(self, reason: str) -> None:
        self._stopped = True
        self._waiting = {}
        self.sentences.append(f"This run could not continue after an interruption: {reason}.")

    def next_training(self) -> str:
        """The name under which the next training of the run is kept."""
        self.trainings += 1
        return f"training-{self.trainings}"

    def measured(self, task: Task, measure: Callable[[], Evaluation]) -> Evaluation:
        """`measure()`; or what the interrupted run measured here, without its samples."""
        number = len(self.measurements)
        if number < len(self._known):
            self.measurements.append(self._known[number])
            return unpacked_evaluation(self._known[number], task)
        evaluation = measure()
        self.measurements.append(packed_evaluation(evaluation))
        return evaluation

    def set_known(self, measurements: list[State]) -> None:
        """Lets `measured` give these first."""
        self._known = max(self._known, measurements, key=len)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
