"""Kinds of weights that the zoo does not have: their views, counts, inputs, masks and refusals."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune

from pruning_core.criteria import CRITERIA
from pruning_core.export.masks import masks_by_parameter
from pruning_core.granularity import GRANULARITIES, supports
from pruning_core.masks import apply_masks, group_scores, select
from pruning_core.model.activation_stats import input_norms
from pruning_core.model.inventory import inventory, oihw, stored, unprunable_parameters
from pruning_core.training.config import TrainConfig
from pruning_core.training.fine_tune import fine_tune
from pruning_core.types import Dataset, Layer, Masks, Tuned
from tests.cases import for_each
from tests.core.foreign import FOREIGN, SHAPE, Conv1D, Functional
from tests.core.toy import MemorySplit, refusal, same_state, state


@cache
def network(name: str) -> tuple[nn.Module, tuple[Layer, ...]]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = FOREIGN[name]().eval()
    return model, inventory(model, SHAPE)


def images(count: int = 4) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(1))


def masks(name: str, granularity: str, ratio: float = 0.5) -> Masks:
    model, layers = network(name)
    g = GRANULARITIES[granularity]
    chosen = tuple(x for x in layers if supports(g, x) is None)
    scores = CRITERIA["magnitude_l1"](model, chosen, [])
    ratios = dict.fromkeys([x.name for x in chosen], ratio)
    return select(group_scores(scores, chosen, g, "mean_abs"), chosen, g, ratios)


EXPECTED = {
    "shapes": "up conv_transpose2d 1024|split conv_transpose2d 27648|line conv_transpose1d 1440|"
    "solid conv3d 10584|pair bilinear 480",
    "rows": "lstm rnn 1024|lstm rnn 512|lstm rnn 1024|lstm rnn 512|gru rnn 768|gru rnn 384|"
    "cell rnn 16|cell rnn 16|head linear 40",
    "tokens": "experts experts 1536|down experts 1536|mix matrix 512|out matrix 80|"
    "q attention_proj 512|k attention_proj 256|v attention_proj 256|o attention_out 512|"
    "c_attn attention_in 1536|c_proj attention_out 512|router linear 128",
    "functional": "conv conv2d 1944|standard conv2d 3456|hidden linear 32|cosine linear 80",
}
"""Owner, kind and multiply-adds of every layer, counted by hand: positions x weights."""


@for_each(EXPECTED)
def test_kinds_and_counts(name: str) -> None:
    model, layers = network(name)
    lines = [f"{own(x)} {x.kind} {x.macs}" for x in layers]
    assert lines == EXPECTED[name].split("|")
    named = [x.name for x in layers] + [u.name for u in unprunable_parameters(model, layers)]
    assert sorted(named) == sorted(key for key, _ in model.named_parameters())
    assert [x.name for x in layers if x.is_output] == [outputs(layers)]


def own(layer: Layer) -> str:
    path, _, last = layer.name.rpartition(".")
    return path.rpartition(".")[2] or last


def outputs(layers: tuple[Layer, ...]) -> str:
    return next(x.name for x in layers if own(x) in ("pair", "head", "out", "cosine"))


@for_each(EXPECTED)
def test_views_are_lossless(name: str) -> None:
    model, layers = network(name)
    for layer in layers:
        weight = model.get_parameter(layer.name).detach()
        assert tuple(weight.shape) == layer.param_shape
        assert tuple(oihw(weight, layer).shape) == layer.shape
        assert torch.equal(stored(oihw(weight, layer), layer), weight)
        assert torch.equal(oihw(weight.flatten(), layer), oihw(weight, layer))


@for_each([(2, 1), (2, 2), (1, 1), (3, 1)])
def test_rows_of_a_transposed_convolution_are_its_outputs(dimensions: int, groups: int) -> None:
    kind = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[dimensions - 1]
    model = kind(4, 6, 3, groups=groups, bias=False)
    x = torch.rand(1, 4, *[5] * dimensions)
    (layer,) = inventory(model, x)
    for row, column in ((1, 0), (4, layer.shape[1] - 1)):
        keep = torch.zeros(layer.shape, dtype=torch.bool)
        keep[row, column] = True
        out = apply_masks(model, {"weight": keep}, (layer,))(x)
        assert out.flatten(2).any(-1)[0].tolist() == [at == row for at in range(6)]
        read = x.clone()
        read[:, row * groups // 6 * layer.shape[1] + column] = 0
        assert not apply_masks(model, {"weight": keep}, (layer,))(read).any()


@for_each(["shapes", "rows", "tokens", "functional"])
def test_fine_masks_are_those_of_torch(name: str) -> None:
    """Of every layer alone (l1_unstructured) and of all (global_unstructured)."""
    model, layers = network(name)
    alone = masks(name, "fine")
    for layer in layers:
        work = FOREIGN[name]()
        _ = None
        work.load_state_dict(model.state_dict())
        module, key = owner(work, layer.name)
        prune.l1_unstructured(module, key, layer.numel - int(alone[layer.name].sum()))
        wanted = getattr(module, f"{key}_mask").bool()
        assert torch.equal(stored(alone[layer.name], layer), wanted), layer.name


def owner(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, key = name.rpartition(".")
    return model.get_submodule(path), key


@for_each([(name, g) for name in FOREIGN for g in ("fine", "row", "filter", "head", "block:4x4")])
def test_exported_masks_give_the_same_network(name: str, granularity: str) -> None:
    model, layers = network(name)
    before = state(model)
    chosen = masks(name, granularity)
    exported = masks_by_parameter(chosen, layers)
    work = FOREIGN[name]().eval()
    work.load_state_dict(model.state_dict())
    for key, mask in exported.items():
        assert mask.shape == model.get_parameter(key).shape
        module, parameter = owner(work, key)
        prune.custom_from_mask(module, parameter, mask)
        prune.remove(module, parameter)
    masked = apply_masks(model, chosen, layers)
    with torch.no_grad():
        assert torch.equal(masked(images()), work(images()))
    assert same_state(model, before)


@for_each(FOREIGN)
def test_training_holds_the_masks(name: str) -> None:
    """Removed weights of every kind stay zero, and the others are trained."""
    model, layers = network(name)
    split = MemorySplit(images(20), torch.arange(20) % 10)
    classes = tuple("0123456789")
    dataset = Dataset("rows", classes, SHAPE, train=split, val=split, test=split)
    chosen = masks(name, "fine")
    config = TrainConfig(epochs=1, batch_size=10)
    *_, done = fine_tune(model, chosen, layers, dataset, config, device="cpu")
    assert isinstance(done, Tuned)
    for layer in layers:
        weight = oihw(done.model.get_parameter(layer.name).detach(), layer)
        before = oihw(model.get_parameter(layer.name).detach(), layer)
        keep = chosen[layer.name]
        assert not weight[~keep].any(), layer.name
        assert (weight != before)[keep].any(), layer.name


def test_inputs_of_weights_read_without_their_module() -> None:
    """The same norms as where the modules are called, and none is zero."""
    model, layers = network("functional")
    work = Called()
    work.load_state_dict(model.state_dict())
    batches = [(images(8), torch.zeros(8).long())]
    norms = input_norms(model, layers, batches)
    wanted = input_norms(work.eval(), layers, batches)
    for layer in layers:
        assert norms[layer.name].any()
        torch.testing.assert_close(norms[layer.name], wanted[layer.name])


class Called(Functional):
    """The network `functional`, with calls of its modules; its cosine reads the plain weight."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.standard(self.norm(self.conv(x)).relu()).relu().mean((2, 3))
        return self.cosine(functional.normalize(self.hidden(x)))


def test_inputs_of_recurrent_weights() -> None:
    """x over all steps for weight_ih, the states before every step for weight_hh."""
    lstm = nn.LSTM(3, 4, batch_first=True, bidirectional=True)
    x = torch.rand(2, 5, 3, generator=torch.Generator().manual_seed(2))
    norms = input_norms(lstm, inventory(lstm, x), [(x, torch.zeros(2))])
    with torch.no_grad():
        out = lstm(x)[0]
    before = {"": out[:, :-1, :4], "_reverse": out[:, 1:, 4:]}
    for ending, states in before.items():
        for name, read in (("weight_ih_l0", x), ("weight_hh_l0", states)):
            wanted = (read.square().sum((0, 1)) / 2).sqrt()
            torch.testing.assert_close(norms[name + ending][3, :, 0, 0], wanted)


def test_inputs_of_other_kinds() -> None:
    """Each weight alone decides the output: its square is the norm's, summed over positions."""
    x = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(3))
    gpt = Conv1D(6, 5)
    (layer,) = inventory(gpt, x)
    wanted = (x.square().sum((0, 1)) / 3).sqrt()
    given = input_norms(gpt, (layer,), [(x, torch.zeros(3))])["weight"]
    torch.testing.assert_close(given[2, :, 0, 0], wanted)
    up = nn.ConvTranspose1d(4, 2, 3)
    (layer,) = inventory(up, x)
    wanted = (x.square().sum((0, 2)) / 3).sqrt()
    given = input_norms(up, (layer,), [(x, torch.zeros(3))])["weight"]
    torch.testing.assert_close(given[1, :, 0, 2], wanted)


REFUSED = {
    "lstm.weight_hh_l0": ("filter", "channel", "shape", "head", "kernel"),
    "experts": ("filter", "channel", "shape", "head"),
    "out": ("filter", "head", "kernel"),
    "pair.weight": ("filter", "channel"),
    "solid.weight": ("vector_col", "head"),
    "split.weight": ("channel", "head"),
}


@for_each(REFUSED)
def test_refusals_of_granularities(name: str) -> None:
    layer = next(x for arch in FOREIGN for x in network(arch)[1] if x.name == name)
    refused = {g for g, each in GRANULARITIES.items() if supports(each, layer) is not None}
    assert refused >= set(REFUSED[name])
    assert {"fine", "row"}.isdisjoint(refused)


def test_grouped_queries_lose_whole_groups() -> None:
    keep = masks("tokens", "head")
    q, k, o = (keep[f"grouped.{name}.weight"][:, :, 0, 0] for name in "qko")
    kept = k.view(2, -1).all(1).tolist()
    assert sorted(kept) == [False, True]
    assert q.view(2, -1).all(1).tolist() == q.view(2, -1).any(1).tolist() == kept
    assert o.any(0).view(2, 4).all(1).tolist() == o.any(0).view(2, 4).any(1).tolist() == kept


def test_embeddings_are_listed_on_request() -> None:
    class Words(nn.Sequential):
        pass

    model = Words(nn.Embedding(12, 8), nn.Flatten(), nn.Linear(40, 3))
    x = torch.arange(5)[None]
    assert [layer.name for layer in inventory(model, x)] == ["2.weight"]
    words, head = inventory(model, x, embeddings=True)
    assert (words.kind, words.shape, words.macs) == ("embedding", (12, 8, 1, 1), 0)
    assert (words.is_output, head.is_output) == (False, True)
    counts = input_norms(model, (words,), [(x, torch.zeros(1))])["0.weight"]
    assert counts[:, 0, 0, 0].tolist() == [1.0] * 5 + [0.0] * 7


def test_weights_that_are_not_followed_are_refused_with_the_reason() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)
            self.b = nn.Linear(4, 4)
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(functional.linear(x, self.a.weight * self.b.weight))

    model = Sum()
    layers = inventory(model, (4,))
    reasons = {each.name: each.reason for each in unprunable_parameters(model, layers)}
    assert [layer.name for layer in layers] == ["head.weight"]
    assert "cannot be followed" in reasons["a.weight"]


def test_a_network_without_weights_is_refused() -> None:
    assert "no weight to prune" in refusal(lambda: inventory(nn.ReLU(), (4,)))


def test_attention_in_evaluation_is_seen_inside_an_encoder() -> None:
    """torch's fused kernels for evaluation call no module, with a padding mask or without."""
    block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    encoder = nn.TransformerEncoder(block, 1).eval()
    x = torch.rand(2, 5, 8, generator=torch.Generator().manual_seed(4))
    padded = torch.arange(5)[None].ge(torch.tensor([[5], [3]]))
    batch = {"src": x, "src_key_padding_mask": padded}
    layers = inventory(encoder, batch)
    assert [layer.macs for layer in layers] == [5 * 192, 5 * 64, 5 * 128, 5 * 128]
    norms = input_norms(encoder, layers, [(batch, torch.zeros(2))])
    assert all(norm.any() for norm in norms.values())


def run(*parts: nn.Module, last: Callable[[Tensor], Tensor]) -> nn.Module:
    """A network that applies the function, which reads the parts' weights."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList(parts)

        def forward(self, x: Tensor) -> Tensor:
            return last(x)

    return Net()


def test_other_ways_to_read_a_weight() -> None:
    """Each network reads weights in its own way; kinds, multiply-adds and outputs by hand."""
    one = nn.Linear(4, 4, bias=False)
    two = nn.Linear(4, 3, bias=False)
    out = nn.Linear(7, 2)
    bare = nn.ParameterList([nn.Parameter(torch.rand(4, 6)), nn.Parameter(torch.rand(6, 2))])
    waves = nn.ParameterList([nn.Parameter(torch.rand(3, 3, dtype=torch.cfloat))])
    networks = {
        "joined": run(
            one,
            two,
            out,
            last=lambda x: out(functional.linear(x, torch.cat([one.weight, two.weight]))),
        ),
        "bare": run(bare, last=lambda x: (x @ bare[0]).relu() @ bare[1]),
        "mapped": run(one, last=torch.vmap(lambda row: functional.linear(row, one.weight))),
        "turned": run(one, last=lambda x: functional.linear(one(x).relu(), one.weight.t())),
        "fixed input": run(one, last=lambda x: x + one(torch.ones(1, 4))),
        "distances to a fixed point": run(
            one, two, last=lambda x: torch.cdist(two(one(x)), torch.ones(5, 3))
        ),
        "complex": run(
            one, waves, last=lambda x: one(torch.fft.irfft(torch.fft.rfft(x) @ waves[0], 4))
        ),
    }
    found = {
        name: " ".join(f"{x.kind}:{x.macs}{'*' * x.is_output}" for x in inventory(model, (4,)))
        for name, model in networks.items()
    }
    assert found == {
        "joined": "linear:16 linear:12 linear:14*",
        "bare": "matrix:24 matrix:12*",
        "mapped": "linear:16*",
        "turned": "linear:32*",
        "fixed input": "linear:16*",
        "distances to a fixed point": "linear:16 linear:12",
        "complex": "linear:16*",
    }


def test_a_torchscript_module_is_refused() -> None:
    with pytest.warns(FutureWarning, match="deprecated"):
        model = torch.jit.script(nn.Linear(4, 2))
    assert "TorchScript" in refusal(lambda: inventory(model, (4,)))
