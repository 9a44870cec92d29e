"""Oracles of criteria and allocations: plain torch, one function per paper.

Each gets the network, the names of its weights and one batch, and gives a score per weight, or per
filter, by name. A high score is kept.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune

PerName = dict[str, Tensor]
Oracle = Callable[[nn.Module, Sequence[str], Tensor, Tensor], PerName]


def _weights(model: nn.Module, names: Sequence[str]) -> list[nn.Parameter]:
    return [model.get_parameter(name) for name in names]


def _slopes(
    model: nn.Module, names: Sequence[str], x: Tensor, y: Tensor, by: float = 1.0
) -> list[Tensor]:
    loss = F.cross_entropy(model(x) / by, y)
    return list(torch.autograd.grad(loss, _weights(model, names)))


def _named(names: Sequence[str], values: Sequence[Tensor]) -> PerName:
    return {n: v.detach() for n, v in zip(names, values, strict=True)}


def magnitude(model: nn.Module, names: Sequence[str], x: Tensor, y: Tensor) -> PerName:
    """|w|."""
    return _named(names, [w.abs() for w in _weights(model, names)])


def taylor(model: nn.Module, names: Sequence[str], x: Tensor, y: Tensor) -> PerName:
    """|w g| in evaluation mode."""
    work = deepcopy(model).eval()
    pairs = zip(_weights(work, names), _slopes(work, names, x, y), strict=True)
    return _named(names, [(w * g).abs() for w, g in pairs])


def snip(model: nn.Module, names: Sequence[str], x: Tensor, y: Tensor) -> PerName:
    """Lee et al. 2019: |dL/dc| at c = 1 in training mode, divided by the sum."""
    work = deepcopy(model).train()
    for module in work.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    products = [
        (w * g).abs()
        for w, g in zip(_weights(work, names), _slopes(work, names, x, y), strict=True)
    ]
    total = torch.stack([p.sum() for p in products]).sum()
    return _named(names, [p / total for p in products])


def grasp(model: nn.Module, names: Sequence[str], x: Tensor, y: Tensor) -> PerName:
    """Wang et al. 2020: keep the largest w (H g) of the loss with logits / 200, training mode."""
    work = deepcopy(model).train()
    weights = _weights(work, names)
    fixed = _slopes(work, names, x, y, 200.0)
    loss = F.cross_entropy(work(x) / 200.0, y)
    own = torch.autograd.grad(loss, weights, create_graph=True)
    dot = torch.stack([(f * o).sum() for f, o in zip(fixed, own, strict=True)]).sum()
    products = torch.autograd.grad(dot, weights)
    return _named(names, [w * p for w, p in zip(weights, products, strict=True)])


def obd(model: nn.Module, names: Sequence[str], x: Tensor, y: Tensor) -> PerName:
    """LeCun et al. 1990 with the empirical Fisher diagonal: w^2 / 2 x mean of g_n^2."""
    work = deepcopy(model).eval()
    weights = _weights(work, names)
    total = [torch.zeros_like(w) for w in weights]
    for at in range(len(y)):
        for summed, g in zip(
            total, _slopes(work, names, x[at : at + 1], y[at : at + 1]), strict=True
        ):
            summed += g.square() / len(y)
    return _named(names, [w.square() * h / 2 for w, h in zip(weights, total, strict=True)])


def seven(model: nn.Module, names: Sequence[str], x: Tensor, y: Tensor) -> PerName:
    """Xiao et al. 2024: sum of |w a m^ / (sqrt(v^) + 1e-9)| over mini-batches of 32."""
    work = deepcopy(model).eval()
    weights = _weights(work, names)
    m = [torch.zeros_like(w) for w in weights]
    v = [torch.zeros_like(w) for w in weights]
    s = [torch.zeros_like(w) for w in weights]
    for t, at in enumerate(range(0, len(y), 32)):
        for i, g in enumerate(_slopes(work, names, x[at : at + 32], y[at : at + 32])):
            a = g.abs()
            m[i] = 0.8 * m[i] + 0.2 * a
            v[i] = 0.9 * v[i] + 0.1 * a**2
            m_hat = m[i] / (1 - 0.8 ** (t + 1))
            v_hat = v[i] / (1 - 0.9 ** (t + 1))
            s[i] = s[i] + (weights[i] * a * m_hat / (v_hat.sqrt() + 1e-9)).abs().detach()
    return _named(names, s)


def wanda(model: nn.Module, names: Sequence[str], x: Tensor, y: Tensor) -> PerName:
    """Sun et al. 2023: |w_ij| times the norm of input j, over the tokens or positions of an image
    and the root mean square over images."""
    work = deepcopy(model).eval()
    norms: PerName = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0]
            if isinstance(module, nn.Conv2d):
                pad = module.padding
                assert isinstance(pad, tuple)
                columns = F.unfold(x, module.kernel_size, module.dilation, pad, module.stride)
                norms[name] = columns.square().sum(2).mean(0).sqrt()
            else:
                rows = x.reshape(len(x), -1, x.shape[-1])
                norms[name] = rows.square().sum(1).mean(0).sqrt()

        return hook

    for name in names:
        work.get_submodule(name.removesuffix(".weight")).register_forward_pre_hook(watch(name))
    with torch.no_grad():
        work(x)
    return {n: model.get_parameter(n).detach().abs().flatten(1) * norms[n] for n in names}


def fpgm(model: nn.Module, names: Sequence[str], x: Tensor, y: Tensor) -> PerName:
    """He et al. 2019: per filter, the sum of distances to the other filters of its layer."""
    rows = [w.detach().flatten(1) for w in _weights(model, names)]
    return {
        n: torch.stack([(row - each).norm(dim=1).sum() for each in row]) / max(1, len(row) - 1)
        for n, row in zip(names, rows, strict=True)
    }


def taylor_filters(model: nn.Module, names: Sequence[str], x: Tensor, y: Tensor) -> PerName:
    """Molchanov et al. 2019: (sum of w g)^2 per filter, the mean over mini-batches of 32."""
    work = deepcopy(model).eval()
    total: PerName = {}
    starts = range(0, len(y), 32)
    for at in starts:
        slopes = _slopes(work, names, x[at : at + 32], y[at : at + 32])
        for name, w, g in zip(names, _weights(work, names), slopes, strict=True):
            squared = (w * g).detach().flatten(1).sum(1).square() / len(starts)
            total[name] = total.get(name, torch.zeros_like(squared)) + squared
    return total


def lamp(model: nn.Module, names: Sequence[str], x: Tensor, y: Tensor) -> PerName:
    """Lee et al. 2021: w^2 / sum of the squares that are not smaller, in the layer."""
    scores = {}
    for name, w in zip(names, _weights(model, names), strict=True):
        squares = w.detach().double().flatten().square()
        order = squares.argsort(stable=True)
        suffix = squares[order].flip(0).cumsum(0).flip(0)
        scores[name] = torch.zeros_like(squares).index_put((order,), squares[order] / suffix)
    return scores


def erk_densities(model: nn.Module, names: Sequence[str], density: float) -> dict[str, float]:
    """Evci et al. 2020: layers whose density would exceed 1 are dense, the rest share eps."""
    shapes = {n: w.shape for n, w in zip(names, _weights(model, names), strict=True)}
    dense: set[str] = set()
    while True:
        goal = density * sum(shape.numel() for shape in shapes.values())
        goal -= sum(shapes[n].numel() for n in dense)
        raw = {n: sum(shape) / shape.numel() for n, shape in shapes.items() if n not in dense}
        eps = goal / sum(raw[n] * shapes[n].numel() for n in raw)
        over = {n for n, r in raw.items() if eps * r > 1}
        if not over:
            return {n: 1.0 if n in dense else eps * raw[n] for n in shapes}
        dense.add(max(over, key=lambda n: raw[n]))


def torch_global(model: nn.Module, names: Sequence[str], sparsity: float) -> PerName:
    """The masks of torch.nn.utils.prune.global_unstructured by magnitude."""
    work = deepcopy(model)
    owners = [(work.get_submodule(n.rpartition(".")[0]), n.rpartition(".")[2]) for n in names]
    prune.global_unstructured(owners, pruning_method=prune.L1Unstructured, amount=sparsity)
    return {
        n: getattr(owner, f"{tensor}_mask").bool()
        for n, (owner, tensor) in zip(names, owners, strict=True)
    }


def synflow_masks(model: nn.Module, names: Sequence[str], x: Tensor, density: float) -> PerName:
    """Tanaka et al. 2020: 100 rounds to this density, weights above the k-th score are kept."""
    work = deepcopy(model).double().eval()
    for tensor in work.state_dict().values():
        tensor.abs_()
    weights = _weights(work, names)
    dense = [w.detach().clone() for w in weights]
    masks = [torch.ones_like(w) for w in weights]
    ones = torch.ones_like(x[:1], dtype=torch.float64)
    for k in range(1, 101):
        for w, value, mask in zip(weights, dense, masks, strict=True):
            w.data = value * mask
        slopes = torch.autograd.grad(work(ones).sum(), weights)
        scores = [(w * g).abs().detach() for w, g in zip(weights, slopes, strict=True)]
        flat = torch.cat([s.flatten() for s in scores])
        count = int((1.0 - density ** (k / 100)) * len(flat))
        if count:
            threshold = flat.kthvalue(count).values
            masks = [(s > threshold).double() for s in scores]
    return {n: mask.bool() for n, mask in zip(names, masks, strict=True)}
