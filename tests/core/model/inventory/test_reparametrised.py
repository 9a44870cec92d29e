"""Weights that are computed, not there yet or shared; modules that keep activations; outputs."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from pruning_core.criteria import CRITERIA
from pruning_core.evaluation.metrics import measure
from pruning_core.granularity import GRANULARITIES, supports
from pruning_core.masks import apply_masks
from pruning_core.model.gradients import gradients
from pruning_core.model.inventory import from_torch_prune, inventory, unprunable_parameters
from tests.cases import for_each
from tests.core.toy import refusal, same_state, state

COMPUTED: dict[str, tuple[Callable[[nn.Module], nn.Module], str]] = {
    "prune": (lambda m: prune.l1_unstructured(m, "weight", 0.5), "prune.remove"),
    "spectral norm": (spectral_norm, "remove_spectral_norm"),
    "new weight norm": (parametrizations.weight_norm, "remove_parametrizations"),
    "new spectral norm": (parametrizations.spectral_norm, "remove_parametrizations"),
    "orthogonal": (parametrizations.orthogonal, "remove_parametrizations"),
}


def made(how: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return COMPUTED[how][0](nn.Linear(12, 4))


@for_each(COMPUTED)
def test_computed_weights_are_named_with_a_remedy(how: str) -> None:
    remedy = COMPUTED[how][1]
    alone = nn.Sequential(nn.Flatten(), made(how))
    text = refusal(lambda: inventory(alone, (3, 2, 2)))
    assert "1.weight" in text
    assert remedy in text
    beside = nn.Sequential(nn.Flatten(), made(how), nn.Linear(4, 2))
    layers = inventory(beside, (3, 2, 2))
    assert [layer.name for layer in layers] == ["2.weight"]
    reasons = [each.reason for each in unprunable_parameters(beside, layers)]
    assert any("1.weight" in reason and remedy in reason for reason in reasons)


@for_each(COMPUTED)
def test_layers_beside_computed_weights_work(how: str) -> None:
    """Copies are made of modules that hold computed tensors, also after a forward pass."""
    model = nn.Sequential(nn.Flatten(), made(how), nn.Linear(4, 2)).eval()
    x = torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    model(x)
    layers = inventory(model, (3, 2, 2))
    batches = [(x, torch.tensor([0, 1, 0, 1]))]
    assert gradients(model, layers, batches)["2.weight"].any()
    assert CRITERIA["wanda"](model, layers, batches)["2.weight"].any()
    masked = apply_masks(model, {"2.weight": torch.zeros(2, 4, 1, 1, dtype=torch.bool)}, layers)
    assert torch.equal(masked(x), model.get_parameter("2.bias").expand(4, 2))


def test_old_weight_norm_and_lazy_modules() -> None:
    with pytest.warns(FutureWarning, match="deprecated"):
        model = nn.Sequential(nn.Flatten(), weight_norm(nn.Linear(12, 4)))
    assert "remove_weight_norm" in refusal(lambda: inventory(model, (3, 2, 2)))
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(4))
    text = refusal(lambda: inventory(lazy, (3, 2, 2)))
    assert "1.weight" in text
    assert "one forward pass" in text
    lazy(torch.zeros(1, 3, 2, 2))
    assert [layer.name for layer in inventory(lazy, (3, 2, 2))] == ["1.weight"]


def test_masks_of_torch_prune_are_a_start() -> None:
    """The same outputs as the pruned network, plain weights, and the original values below."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.ConvTranspose2d(3, 2, 2), nn.Flatten(), nn.Linear(18, 4)).eval()
    plain_state = state(model)
    x = torch.rand(2, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    prune.ln_structured(model[0], "weight", 1, n=1, dim=1)
    prune.l1_unstructured(model[2], "weight", 0.5)
    prune.random_unstructured(model[2], "bias", 1)
    before = state(model)
    plain, masks = from_torch_prune(model)
    layers = inventory(plain, (3, 2, 2))
    assert same_state(model, before)
    assert masks.keys() == {layer.name for layer in layers}
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {
        "0.weight": 12,
        "2.weight": 36,
    }
    assert all(masks[layer.name].shape == layer.shape for layer in layers)
    assert torch.equal(apply_masks(plain, masks, layers)(x), model(x))
    for name in ("0.weight", "2.weight"):
        assert torch.equal(plain.get_parameter(name), plain_state[name])
    assert from_torch_prune(plain)[1] == {}


class TiedWords(nn.Module):
    """The output layer has the weight of an embedding that is registered before it."""

    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(12, 8)
        self.out = nn.Linear(8, 12, bias=False)
        self.out.weight = self.emb.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.emb(x).mean(1))


def test_an_embedding_tied_to_the_output_layer() -> None:
    model = TiedWords().eval()
    x = torch.arange(5)[None]
    (layer,) = layers = inventory(model, x)
    assert (layer.name, layer.aliases, layer.macs) == ("out.weight", ("emb.weight",), 96)
    assert layer.is_output
    assert unprunable_parameters(model, layers) == ()
    mask = {"out.weight": torch.arange(96).ge(48).view(12, 8, 1, 1)}
    assert measure(model, layers, mask).nonzeros == 48
    assert not apply_masks(model, mask, layers).emb.weight[:6].any()
    scores = CRITERIA["wanda"](model, layers, [(x, torch.zeros(1).long())])["out.weight"]
    with torch.no_grad():
        wanted = model.out.weight.abs() * model.emb(x).mean(1).abs()
    torch.testing.assert_close(scores[:, :, 0, 0], wanted)
    assert inventory(model, x, embeddings=True) == layers


@dataclass
class Answer:
    logits: Tensor
    boxes: Tensor
    hidden_states: tuple[Tensor, ...]


class Heads(nn.Module):
    """Two heads, and one that runs in training only."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.a = nn.Linear(12, 8)
        self.cls = nn.Linear(8, 4)
        self.more = nn.Linear(8, 6)
        self.aux = nn.Linear(8, 4)
        self.norm = nn.BatchNorm1d(8)

    def forward(self, x: Tensor) -> object:
        h = self.a(x.flatten(1)).relu()
        one = self.cls(h).softmax(-1)
        two = self.more(h)
        if self.training:
            return one, two, self.aux(self.norm(h))
        forms = {
            "tuple": (one, two),
            "nested": [{"cls": one}, (two,)],
            "dict": {"logits": one, "boxes": two, "hidden_states": (h,)},
            "dataclass": Answer(one, two, (h,)),
        }
        return forms[self.form]


@for_each(["tuple", "nested", "dict", "dataclass"])
def test_every_head_is_an_output(form: str) -> None:
    model = Heads(form).eval()
    before = state(model)
    layers = inventory(model, (3, 2, 2))
    assert [x.name for x in layers if x.is_output] == ["cls.weight", "more.weight", "aux.weight"]
    assert {x.name: x.macs for x in layers}["aux.weight"] == 0
    assert "model's outputs" in str(supports(GRANULARITIES["filter"], layers[2]))
    assert same_state(model, before)


def test_outputs_follow_the_data_and_not_the_shape() -> None:
    """A hidden layer of as many outputs as the last; a residual at the end; a sum as a loss."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)
            self.b = nn.Linear(4, 4)
            self.c = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.b(self.a(x))
            return h + self.c(h), self.a(x).square().mean()

    layers = inventory(Net(), (4,))
    assert {x.name: x.is_output for x in layers} == {
        "a.weight": False,
        "b.weight": True,
        "c.weight": True,
    }


def test_modules_that_keep_activations_are_copied() -> None:
    class Keeps(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            self.kept = {"all": [x := self[0](x)]}
            return x

    model = Keeps(nn.Linear(4, 3))
    x = torch.rand(2, 4, generator=torch.Generator().manual_seed(1))
    model(x)
    layers = inventory(model, (4,))
    assert CRITERIA["taylor"](model, layers, [(x, torch.tensor([0, 1]))])["0.weight"].any()
    assert apply_masks(model, {}, layers).kept["all"][0].grad_fn is None


def test_synchronised_batch_norm_is_a_batch_norm() -> None:
    model = nn.SyncBatchNorm.convert_sync_batchnorm(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.PReLU(2), nn.Flatten())
    )
    layers = inventory(model, (1, 4, 4))
    assert layers[0].bn == "1"
    reasons = {each.name: each.reason for each in unprunable_parameters(model, layers)}
    assert reasons["1.weight"].startswith("normalisation")
    assert "PReLU" in reasons["2.weight"]


def test_adapters_beside_a_base_layer() -> None:
    """As peft lays them out: the base is pruned, and the adapter says what to do."""

    class Lora(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base_layer = nn.Linear(4, 4)
            self.lora_A = nn.ModuleDict({"default": nn.Linear(4, 2, bias=False)})
            self.lora_B = nn.ModuleDict({"default": nn.Linear(2, 4, bias=False)})

        def forward(self, x: Tensor) -> Tensor:
            return self.base_layer(x) + self.lora_B["default"](self.lora_A["default"](x))

    model = nn.Sequential(Lora(), nn.Linear(4, 2))
    layers = inventory(model, (4,))
    assert [(x.name, x.kind) for x in layers] == [
        ("0.base_layer.weight", "adapted"),
        ("1.weight", "linear"),
    ]
    assert "merge_and_unload" in str(supports(GRANULARITIES["filter"], layers[0]))
    reasons = {each.name: each.reason for each in unprunable_parameters(model, layers)}
    assert "merge" in reasons["0.lora_A.default.weight"]


def test_of_copies_of_a_module_the_one_that_is_read_is_listed() -> None:
    """As peft lays out `modules_to_save`: the module before training, and one per adapter."""

    class Saved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.original_module = nn.Linear(4, 2)
            self.modules_to_save = nn.ModuleDict({name: nn.Linear(4, 2) for name in "ab"})
            self.active = ""

        def forward(self, x: Tensor) -> Tensor:
            known = {"": self.original_module, **self.modules_to_save}
            out: Tensor = known[self.active](x)
            return out

    saved = Saved()
    model = nn.Sequential(nn.Linear(4, 4), saved)
    for saved.active, name in (("", "original_module"), ("a", "modules_to_save.a")):
        layers = inventory(model, (4,))
        assert [layer.name for layer in layers] == ["0.weight", f"1.{name}.weight"]
        reasons = {own.name: own.reason for own in unprunable_parameters(model, layers)}
        assert "a copy that the network does not read" in reasons["1.modules_to_save.b.weight"]
        assert len(reasons) + len(layers) == len(list(model.parameters()))


def test_a_parametrization_is_removed_by_the_remedy() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 2)))
    parametrize.remove_parametrizations(model[0], "weight")
    assert [x.name for x in inventory(model, (4,))] == ["0.weight"]


def test_the_parts_of_a_computed_weight_are_no_layers() -> None:
    """Those of a recurrent layer have names as its weights."""
    model = nn.LSTM(4, 4)
    prune.l1_unstructured(model, "weight_hh_l0", 0.5)
    layers = inventory(model, torch.zeros(2, 3, 4))
    assert [layer.name for layer in layers] == ["weight_ih_l0"]
    reasons = {own.name: own.reason for own in unprunable_parameters(model, layers)}
    assert "prune.remove" in reasons["weight_hh_l0_orig"]
