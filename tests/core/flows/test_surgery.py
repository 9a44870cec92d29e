"""Dynamic network surgery against a loop written from its formula, with torch alone."""

from copy import deepcopy

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tests.core.flows.test_oracles import CONFIG, NAMES, optimizer, run
from tests.core.quarters import quarters


def depth(w: Tensor, gone: int) -> float:
    """q for which mean + q std lies halfway between the largest removed and the smallest kept
    weight.
    """
    sizes = w.abs().flatten()
    ranked = sizes.sort().values
    return float(((ranked[gone - 1] + ranked[gone]) / 2 - sizes.mean()) / sizes.std(unbiased=False))


def test_surgery_is_the_loop_of_its_two_thresholds() -> None:
    """Guo et al. 2016: after every step m = 0 below 0.9 level, 1 from 1.1 level on, else as before;
    all weights keep learning.
    """
    here = quarters()
    cuts, last = run("surgery:updates=10,end=1.0", here, allocation="uniform")
    model = deepcopy(here.model).train()
    w = {}
    mask = {}
    q = {}
    for name in NAMES:
        w[name] = model.get_parameter(name).data.clone()
        gone = round(0.6 * w[name].numel())
        q[name] = depth(w[name], gone)
        mask[name] = w[name].abs() > w[name].abs().flatten().kthvalue(gone).values
    steps = optimizer(model, CONFIG)
    moved = 0
    for step, (x, y) in enumerate(here.dataset.train.shuffled(8, 1)):
        for name in NAMES:
            model.get_parameter(name).data = w[name] * mask[name]
        steps.zero_grad()
        cross_entropy(model(x), y).backward()
        for name in NAMES:
            model.get_parameter(name).data = w[name].clone()
        steps.step()
        for name in NAMES:
            w[name] = model.get_parameter(name).data.clone()
            sizes = w[name].abs()
            level = sizes.mean() + q[name] * sizes.std(unbiased=False)
            now = torch.where(
                sizes < 0.9 * level, False, torch.where(sizes >= 1.1 * level, True, mask[name])
            )
            moved += int((now & ~mask[name]).sum())
            mask[name] = now
            assert torch.equal(cuts[step].masks[name].view_as(now), now), f"step {step}"
    assert len(cuts) == 10
    assert moved > 0, "weights came back"
    for name in NAMES:
        torch.testing.assert_close(
            last.model.get_parameter(name).data, w[name] * mask[name], rtol=1e-4, atol=1e-6
        )
