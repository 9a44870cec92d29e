"""One training of a run that can continue: what it reported, and its state after an epoch."""

import hashlib
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import nn

from pruning_core.model.model_io import raw_bytes, tensors_of
from pruning_core.tasks.task import Task
from pruning_core.training.config import TrainConfig
from pruning_core.training.journal import Journal
from pruning_core.training.state_files import (
    State,
    frozen,
    pack_state,
    packed_evaluation,
    thawed,
    unpack_state,
    unpacked_evaluation,
)
from pruning_core.types import Epoch, GivenMasks, Pruned, Resumed, Step

VERSION = 1
"""Version of the state's form. Raise it when the fields of a training or of a hook change."""


def start_digest(model: nn.Module, masks: GivenMasks, config: TrainConfig, *more: object) -> str:
    """SHA-256 of what a training begins with: a kept one continues only from equal weights."""
    digest = hashlib.sha256(repr((VERSION, torch.__version__, config, *more)).encode())
    for named in (tensors_of(model), masks):
        for name, tensor in named.items():
            whole = torch.as_tensor(tensor)
            digest.update(f"{name} {whole.dtype} {tuple(whole.shape)}".encode())
            digest.update(raw_bytes(whole))
    return digest.hexdigest()


class KeptTraining:
    """The next training of a journal's run. start: by `start_digest`.

    state: of the training, after the epoch of that number; None where it begins at the start.
    """

    def __init__(self, journal: Journal, start: str, task: Task) -> None:
        self.state: State | None = None
        self.epoch = 0
        self._journal = journal
        self._name = journal.next_training()
        self._start = start
        self._task = task
        self._steps: list[tuple[int, int, int, float]] = []
        self._events: list[tuple[int, State]] = []
        if (content := journal.read(self._name)) is not None:
            self._read(unpack_state(content))

    def _read(self, kept: State) -> None:
        if kept["start"] != self._start:
            self._journal.sentences.append(
                f"The interrupted run's {self._name} began with other weights or masks and is not "
                "used."
            )
            return
        self.state = kept["state"]
        self.epoch = kept["epoch"]
        self._steps = [(int(e), int(s), int(n), loss) for e, s, n, loss in kept["steps"].tolist()]
        self._events = [(steps, event) for steps, event in kept["events"]]
        self._journal.done += sum("epoch" in event for _, event in self._events)
        self._journal.set_known(kept["measurements"])

    def replayed(self, model: nn.Module, epochs: int) -> Iterator[Resumed | Step | Epoch | Pruned]:
        """Resumed, then the events of the epochs before. Those with masks have this model, and not
        the one of then.
        """
        yield Resumed(self.epoch, epochs, len(self._steps))
        events = iter([*self._events, (-1, {})])
        at, event = next(events)
        for number, step in enumerate(self._steps, start=1):
            yield Step(*step)
            while at == number:
                yield self._unpacked(event, model)
                at, event = next(events)

    def _unpacked(self, event: State, model: nn.Module) -> Epoch | Pruned:
        if "masks" in event:
            return Pruned(**event | {"masks": thawed(event["masks"])}, model=model)
        return Epoch(**event | {"evaluation": unpacked_evaluation(event["evaluation"], self._task)})

    def seen(self, events: Iterable[Step | Pruned]) -> Iterator[Step | Pruned]:
        """The events, which are kept too."""
        for event in events:
            if isinstance(event, Step):
                self._steps.append((event.epoch, event.step, event.steps, event.loss))
            else:
                self._add(event, "round", "rounds", "fraction", "ratios")
                self._events[-1][1]["masks"] = frozen({**event.masks})
            yield event

    def add(self, event: Epoch) -> None:
        """Keeps the event at the end of an epoch."""
        self._add(event, "epoch", "epochs", "train_loss", "best")
        self._journal.done += 1
        self._events[-1][1]["evaluation"] = packed_evaluation(event.evaluation)

    def _add(self, event: Epoch | Pruned, *names: str) -> None:
        self._events.append((len(self._steps), {name: getattr(event, name) for name in names}))

    def keep(self, epoch: int, state: Callable[[], State | None], *, final: bool) -> None:
        """Keeps the training after an epoch where it is time to. state: called only then."""
        self._journal.keep(self._name, lambda: self._packed(epoch, state()), final=final)

    def _packed(self, epoch: int, state: State | None) -> bytes | None:
        if state is None:
            return None
        kept = {
            "start": self._start,
            "epoch": epoch,
            "state": state,
            "steps": torch.tensor(self._steps, dtype=torch.float64),
            "events": self._events,
            "measurements": self._journal.measurements,
        }
        return pack_state(kept)
