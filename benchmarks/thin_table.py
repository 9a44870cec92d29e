"""Thinned = masked for many networks, with torch-pruning beside it: a table in docs/thinning.md.

python -m benchmarks.thin_table          measures what thin_table.json does not have yet
python -m benchmarks.thin_table NAME...  measures these again
Each network has random weights and a process of its own. Every proved coupling loses a random,
irregular subset of its channels, every attention a random subset of its heads. Norms average over
kept channels.
"""

import sys
import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from benchmarks.network_table import NetworkTable
from benchmarks.torchvision_table import built, smallest_side
from pruning_core.compress.thin_network import Narrowed, narrowed, outputs, relative_error
from pruning_core.compress.thin_parts import Part, removable_parts
from pruning_core.granularity import GRANULARITIES, from_groups
from pruning_core.masks import apply_masks, intersect
from pruning_core.model.coupling.dependent_masks import dependent_masks
from pruning_core.model.coupling.positions import Coupling
from pruning_core.model.coupling.proof import irregular, rows_without
from pruning_core.model.coupling.trace import couplings
from pruning_core.model.inventory import inventory
from pruning_core.model.kept_norms import with_kept_norms
from pruning_core.model.model_io import tensors_of
from pruning_core.tied_layers import tied_parts
from pruning_core.types import Inputs, Layer, Masks, PruningError
from pruning_core.zoo.models import ARCHITECTURES

IMAGE = (1, 28, 28)
TORCHVISION = (
    "resnet18",
    "resnet50",
    "vgg16_bn",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "densenet121",
    "efficientnet_b0",
    "convnext_tiny",
    "regnet_y_400mf",
    "shufflenet_v2_x1_0",
    "vit_b_16",
    "swin_t",
)
FAILURES: tuple[type[Exception], ...] = (
    AssertionError,
    AttributeError,
    LookupError,
    PruningError,
    RuntimeError,
    TypeError,
    ValueError,
    ZeroDivisionError,
)
"""What torch-pruning raises for networks that it cannot follow."""
Made = tuple[nn.Module, Inputs]


class Segmenting(nn.Module):
    """An encoder and a decoder with a concatenation between them: a class per pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU())
        self.up = nn.ConvTranspose2d(32, 16, 2, 2)
        self.last = nn.Conv2d(32, 5, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.first(x)
        out: Tensor = self.last(torch.cat([wide, self.up(self.down(wide))], 1))
        return out


class Forecasting(nn.Module):
    """A Linear, a GRU over the steps, and two Linears that give two numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(3, 24)
        self.gru = nn.GRU(24, 32, batch_first=True)
        self.hidden = nn.Linear(32, 16)
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        steps, _ = self.gru(self.into(x).relu())
        out: Tensor = self.head(self.hidden(steps[:, -1]).relu())
        return out


def transformer(name: str) -> Made:
    """A small network of transformers with random weights."""
    import transformers

    small: dict[str, Any] = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2}
    small |= {"num_attention_heads": 4}
    tokens = torch.randint(0, 50, (2, 12), generator=torch.Generator().manual_seed(0))
    if name == "hf_gpt2":
        config = transformers.GPT2Config(n_embd=48, n_layer=2, n_head=4, vocab_size=50)
        return transformers.GPT2LMHeadModel(config), {"input_ids": tokens}
    if name == "hf_llama":
        own = transformers.LlamaConfig(num_key_value_heads=2, vocab_size=50, **small)
        return transformers.LlamaForCausalLM(own), {"input_ids": tokens}
    if name == "hf_vit":
        picture = transformers.ViTConfig(image_size=32, patch_size=8, **small)
        return transformers.ViTForImageClassification(picture), torch.rand(2, 3, 32, 32)
    bert = transformers.BertConfig(vocab_size=50, **small)
    return transformers.BertForSequenceClassification(bert), {"input_ids": tokens}


def torchvision_network(name: str) -> Made:
    model = built(name)
    side = smallest_side(model)
    return model, torch.rand(2, 3, side, side)


def zoo_network(name: str) -> Made:
    return ARCHITECTURES[name].build(IMAGE, 10), torch.rand(2, *IMAGE)


NETWORKS: dict[str, Callable[[], Made]] = {
    **{f"zoo: {name}": partial(zoo_network, name) for name in ARCHITECTURES},
    **{name: partial(torchvision_network, name) for name in TORCHVISION},
    "segmentation": lambda: (Segmenting(), torch.rand(2, 3, 32, 32)),
    "GRU regression": lambda: (Forecasting(), torch.rand(2, 10, 3)),
    **{name: partial(transformer, name) for name in ("hf_gpt2", "hf_bert", "hf_vit", "hf_llama")},
}


def measured(name: str) -> dict[str, Any]:
    """The table's row of one network."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model, x = NETWORKS[name]()
    model = _with_random_vectors(model.eval().requires_grad_(False))
    layers = inventory(model, x)
    dense = model
    model = with_kept_norms(model, x)
    started = time.perf_counter()
    known = couplings(model, layers, x)
    traced = time.perf_counter() - started
    masks = random_masks(layers, known)
    masked = apply_masks(model, masks, layers, dependent_masks(model, layers, masks, known))
    started = time.perf_counter()
    parts = removable_parts(masked, layers, masks, known)
    made = narrowed(masked, layers, known, parts, x)
    seconds = time.perf_counter() - started
    return {
        "parameters": [_parameters(dense), _parameters(made.module)],
        "macs": [_macs(layers), _macs(inventory(made.module, x))],
        "error": made.error,
        "parts": [len(made.parts), len(parts.parts)],
        "refused": [_short(text) for text in made.refused],
        "seconds": [round(traced, 2), round(seconds, 2)],
        "peer": _peer(dense, masked, made, layers, x),
    }


def random_masks(layers: tuple[Layer, ...], known: tuple[Coupling, ...]) -> Masks:
    """Masks without a random, irregular subset of every coupling's channels and of all heads."""
    rng = torch.Generator().manual_seed(0)
    rows: dict[str, Tensor] = {}
    for own in known:
        subset = irregular(own.channels, rng)
        if own.reason is None:
            rows |= rows_without(own, subset, layers)
    shapes = {layer.name: layer.shape for layer in layers}
    filters = {n: ~own[:, None, None, None].expand(shapes[n]) for n, own in rows.items()}
    heads = GRANULARITIES["head"]
    lost: Masks = {}
    for part in tied_parts([layer for layer in layers if layer.heads > 1], heads):
        keep = ~irregular(part[0].heads, rng)[None]
        lost |= {layer.name: from_groups(keep, heads, layer) for layer in part}
    return intersect(filters, lost)


@torch.no_grad()
def _with_random_vectors(model: nn.Module) -> nn.Module:
    """Vectors, statistics and zeros with random values: others would hide what follows them."""
    for index, module in enumerate(model.modules()):
        rng = torch.Generator().manual_seed(index)
        for own in module.parameters(recurse=False):
            if own.ndim == 1 or not own.any():
                own.copy_(torch.rand(own.shape, generator=rng) * 0.5 + 0.1)
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=rng) + 0.5)
    return model


def _peer(
    dense: nn.Module, masked: nn.Module, made: Narrowed, layers: tuple[Layer, ...], x: Inputs
) -> dict[str, Any]:
    """torch-pruning, which removes the same channels of the same couplings."""
    if any(part.coupling is None for part in made.parts):
        return {"failed": "not compared, because heads are removed"}
    work = deepcopy(dense).requires_grad_(True)  # its graph follows gradients
    try:
        started = time.perf_counter()
        graph = torch_pruning.DependencyGraph().build_dependency(
            work, x, verbose=False, forward_fn=_forward
        )
        for part in made.parts:
            _remove(graph, work, part)
        seconds = time.perf_counter() - started
        error = relative_error(outputs(work, x), outputs(masked, x))
        macs = _macs(inventory(work, x))
    except FAILURES as problem:
        lines = str(problem).splitlines() or [""]
        return {"failed": f"fails: {type(problem).__name__}: {lines[0][:120]}"}
    return {
        "parameters": _parameters(work),
        "macs": macs,
        "error": error,
        "seconds": round(seconds, 2),
        "same": _same(work, made.module),
    }


def _same(one: nn.Module, other: nn.Module) -> bool:
    """Have both kept the same channels? Then all their tensors are equal, bit for bit."""
    first = tensors_of(one)
    second = tensors_of(other)
    return first.keys() == second.keys() and all(first[n].equal(second[n]) for n in first)


def _forward(model: nn.Module, x: Any) -> Any:
    return model(**x) if isinstance(x, dict) else model(x)


def _remove(graph: Any, work: nn.Module, part: Part) -> None:
    """Removes a coupling's channels by the rows of its first member."""
    assert part.coupling is not None
    place = part.coupling.members[0]
    module = work.get_submodule(place.parameter.rpartition(".")[0])
    rows = place.positions[part.removed[place.channels]].tolist()
    prune = graph.get_pruner_of_module(module).prune_out_channels
    graph.get_pruning_group(module, prune, rows).prune()


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _macs(layers: tuple[Layer, ...]) -> int:
    return sum(layer.macs for layer in layers)


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The rows as markdown, then what was refused."""
    head = (
        "| network | parameters | multiply-adds | removed parts | difference "
        "| s: couplings, thinning | torch-pruning: s, parameters, difference, channels |\n"
        "|---|---|---|---|---|---|---|"
    )
    shown = {name: rows[name] for name in NETWORKS if name in rows}
    lines = [head, *(_line(name, row) for name, row in shown.items()), "", "What stays wide:", ""]
    for name, row in shown.items():
        lines += [f"- `{name}`: {text}" for text in dict.fromkeys(row["refused"])]
    return "\n".join(lines)


def _line(name: str, row: dict[str, Any]) -> str:
    before, after = row["parameters"]
    macs, fewer = row["macs"]
    done, wanted = row["parts"]
    peer = row["peer"]
    words = (
        str(peer["failed"])
        if "failed" in peer
        else f"{peer['seconds']}, {peer['parameters']:,}, {peer['error']:.1e}, "
        f"{'the same' if peer['same'] else 'others'}"
    )
    traced, seconds = row["seconds"]
    return (
        f"| `{name}` | {before:,} -> {after:,} | {macs:,} -> {fewer:,} | {done} of {wanted} "
        f"| {row['error']:.1e} | {traced}, {seconds} | {words.replace('|', '/')} |"
    )


def _short(text: str) -> str:
    """A refusal without the place in the file."""
    return text.partition(" (/")[0].rstrip(".") + "."


TABLE = NetworkTable(
    module="benchmarks.thin_table",
    store=Path(__file__).with_name("thin_table.json"),
    page=Path(__file__).parents[1] / "docs" / "thinning.md",
    marker="thinned",
    names=NETWORKS.keys,
    measured=measured,
    table=table,
)

if __name__ == "__main__":
    TABLE.main(sys.argv[1:])
