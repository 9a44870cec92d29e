"""A thinned network with all its files: built, measured, and written step by step."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from torch import nn

from pruning_core.compress.thin import Thinned, thin
from pruning_core.evaluation.accuracy import Judge
from pruning_core.export.measure_lines import ScriptParts
from pruning_core.export.model_card import model_card
from pruning_core.export.named_lines import DENSE
from pruning_core.export.programs import onnx_file, program_file
from pruning_core.export.thin_script import KEPT, SCRIPT, STATE, SUBJECT, subject_file, thin_script
from pruning_core.export.weights import weights_safetensors
from pruning_core.pipeline import choose_masks, final_test_split
from pruning_core.plan import Plan
from pruning_core.types import Evaluation, GivenMasks, PruningError
from pruning_core.workspaces import Workspace

CARD = "MODEL_CARD.md"
PURPOSE = {
    STATE: "The weights of the thinned network: its whole state_dict.",
    KEPT: "The channels and heads that are kept, by tensor and axis, and the plan.",
    SCRIPT: "A program that builds the thinned network from the network's own constructor, with "
    "plain PyTorch. It prints the value measured here.",
    "thinned.pt2": "The thinned network as a program for torch.export.load.",
    "thinned.onnx": "The thinned network in one file for ONNX Runtime and others.",
    SUBJECT: "Opens the thinned network here again, to scan, train and prune it: `pruning-explorer "
    "--subject thinned.toml`, or the same option of a command.",
    CARD: "A model card: sizes, widths, and the values measured before and after.",
    DENSE: "The network before pruning: its answers are the targets.",
}
"""What each file is for. dense.safetensors is written only where the script reads it."""


@dataclass(frozen=True)
class Making:
    """A step begins. stage: what it does; share: how much of the work is done, from 0 to 1."""

    stage: str
    share: float


@dataclass(frozen=True, eq=False)
class ThinnedExport:
    """The last event of `export_thinned`.

    unrounded: without `round_to`; None where nothing was rounded. measured: on the test split, by
    the name of the network. files: name -> content; left_out: why others could not be written.
    """

    thinned: Thinned
    unrounded: Thinned | None
    measured: dict[str, Evaluation]
    files: dict[str, bytes]
    left_out: tuple[str, ...]


def export_thinned(
    plan: Plan,
    space: Workspace,
    masks: GivenMasks | None = None,
    model: nn.Module | None = None,
    *,
    round_to: int | None = None,
    accept_norms: bool = False,
) -> Iterator[Making | ThinnedExport]:
    """Thins a plan's network, measures it and writes its files. The arguments are those of `thin`.

    Raises PruningError where the network cannot be made narrower. A file that cannot be written is
    left out, with a sentence.
    """
    yield Making("removing channels and heads", 0.0)
    if masks is None:
        _, masks = choose_masks(plan, space)
    make = partial(thin, plan, space, masks, model, accept_norms=accept_norms)
    thinned = make(round_to=round_to)
    networks = {"dense": space.model, "thinned": thinned.module}
    unrounded = None
    if round_to is not None:
        unrounded = make()
        networks["thinned, not rounded"] = unrounded.module
    yield Making("measuring on the test split", 0.2)
    judge = Judge.of(space.dataset)
    split = final_test_split(plan, space)
    measured = {name: judge.evaluate(network, split) for name, network in networks.items()}
    files: dict[str, bytes] = {}
    left_out = []
    makers = _makers(plan, space, thinned)
    for place, (name, write) in enumerate(makers.items()):
        yield Making(f"writing {name}", 0.4 + 0.6 * place / len(makers))
        try:
            files[name] = write()
        except PruningError as problem:
            left_out.append(str(problem))
    made = ThinnedExport(thinned, unrounded, measured, files, tuple(left_out))
    files[CARD] = card_of(plan, space, made)
    yield made


def card_of(
    plan: Plan, space: Workspace, made: ThinnedExport, translate: Callable[[str], str] = str
) -> bytes:
    """The model card of an export. translate: gives a text in the reader's language."""
    used = {name: PURPOSE[name] for name in made.files if name != CARD}
    packages = ScriptParts.of(plan, space).packages() if SCRIPT in made.files else ()
    return model_card(plan, space, made.thinned, made.measured, used, packages, translate).encode()


def _makers(plan: Plan, space: Workspace, thinned: Thinned) -> dict[str, Callable[[], bytes]]:
    """Name of a file -> writes it. Raises PruningError where it cannot be written."""
    makers: dict[str, Callable[[], bytes]] = {
        STATE: partial(weights_safetensors, thinned.module),
        KEPT: partial(_kept, plan, thinned),
        SCRIPT: lambda: thin_script(plan, space, thinned).encode(),
        SUBJECT: lambda: subject_file(plan, space).encode(),
        "thinned.pt2": partial(program_file, thinned.module, thinned.samples),
        "thinned.onnx": partial(onnx_file, thinned.module, thinned.samples),
    }
    if space.dataset.task.dense_answers and not space.name:
        makers[DENSE] = partial(weights_safetensors, space.model)
    return makers


def _kept(plan: Plan, thinned: Thinned) -> bytes:
    """Kept positions by tensor and axis, other attributes that changed, and the plan."""
    content = {
        "kept": thinned.kept,
        "settings": thinned.settings,
        "attentions": thinned.attentions,
        "plan": json.loads(plan.to_json()),
    }
    return f"{json.dumps(content)}\n".encode()
