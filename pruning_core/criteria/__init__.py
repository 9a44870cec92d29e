"""Which weights matter? Every criterion: (model, layers, batches) -> Scores; high = keep."""

from dataclasses import fields, replace

from pruning_core.criteria.activation import apoz, mean_activation, wanda, without_relu
from pruning_core.criteria.curvature import Grasp, obd
from pruning_core.criteria.custom import custom, is_custom
from pruning_core.criteria.dataflow import SynFlow
from pruning_core.criteria.gradient import Snip, gradient, taylor, taylor_group
from pruning_core.criteria.pooling import POOLS
from pruning_core.criteria.protocol import (
    Criterion,
    CriterionBase,
    FunctionCriterion,
    Reads,
    refusal,
    scores_by_part,
)
from pruning_core.criteria.seven import Seven
from pruning_core.criteria.surgeon import obs, without_inputs
from pruning_core.criteria.weight import (
    Random,
    bn_scale,
    fpgm,
    magnitude,
    single_filter,
    without_batch_norm,
)
from pruning_core.registry import find

__all__ = [
    "CRITERIA",
    "POOLS",
    "Criterion",
    "CriterionBase",
    "FunctionCriterion",
    "Reads",
    "check_criterion",
    "criterion",
    "is_custom",
    "refusal",
    "scores_by_part",
]

MAGNITUDE_L1 = FunctionCriterion(
    magnitude,
    label="Magnitude (L1)",
    formula="s = |w|; group: mean |w| (L1), sqrt(mean w^2) (L2) or max |w| (L∞)",
    source="Han et al. 2015, arXiv:1506.02626; Li et al. 2016, arXiv:1608.08710",
)

SNIP = Snip(
    label="SNIP",
    help="Weights to which the loss is least sensitive are removed first. Single weights rank "
    "as by Taylor |w g|; a group has the sum of its weights, so larger groups rank higher. Made "
    "for fresh networks (rounds:fresh=1). Batch norms use their running statistics.",
    formula="s = |w g| / sum |w g|, the sum over all layers; group: sum",
    source="Lee et al. 2019 (SNIP), arXiv:1810.02340",
    pool="abs_sum",
    reads=Reads.LABELS,
)
GRASP = Grasp(
    label="GraSP",
    help="Weights whose removal weakens the gradient flow least are removed first, so that the "
    "kept weights can learn. Made for fresh networks (rounds:fresh=1). Scores can be negative. "
    "Batch norms use their running statistics.",
    formula="s = w (H g) of the loss with logits / 200; group: sum",
    source="Wang et al. 2020 (GraSP), arXiv:2002.07376",
    pool="sum",
    reads=Reads.LABELS,
    passes="2 forward, 2 backward, 1 backward through the backward pass",
)

CRITERIA: dict[str, Criterion] = {
    "magnitude_l1": MAGNITUDE_L1,
    "magnitude_l2": replace(MAGNITUDE_L1, label="Magnitude (L2)", pool="l2"),
    "magnitude_linf": replace(MAGNITUDE_L1, label="Magnitude (L∞)", pool="max_abs"),
    "bn_scale": FunctionCriterion(
        bn_scale,
        without_batch_norm,
        label="BN scale",
        formula="s[o, i, h, w] = |gamma[o]|; group: mean",
        source="Liu et al. 2017, arXiv:1708.06519",
        per_filter=True,
    ),
    "fpgm": FunctionCriterion(
        fpgm,
        single_filter,
        label="FPGM (geometric median)",
        help="Filters near the geometric median of their layer are removed first, small or not: "
        "other filters can replace them.",
        formula="s[o, i, h, w] = mean over j of ||W[o] - W[j]||_2; group: mean",
        source="He et al. 2019 (FPGM), arXiv:1811.00250",
        passes="none; O^2 distances in a layer of O filters",
        per_filter=True,
    ),
    "gradient": FunctionCriterion(
        gradient,
        label="Gradient |g|",
        formula="s = |g|, g = dL/dw over the calibration images; group: mean",
        source="a baseline without a paper: papers score |w g| (Mozer and Smolensky 1989)",
        reads=Reads.LABELS,
    ),
    "taylor": FunctionCriterion(
        taylor,
        label="Taylor |w g|",
        formula="s = |w g|, g = dL/dw over the calibration images; group: mean",
        source="Mozer and Smolensky 1989, Skeletonization; Molchanov et al. 2019, "
        "arXiv:1906.10771, eq. 7, which squares it and adds the squares of a group",
        reads=Reads.LABELS,
    ),
    "taylor_group": FunctionCriterion(
        taylor_group,
        label="Taylor of the group (Σ w g)²",
        help="Groups whose removal as a whole changes the loss least, to first order, are removed "
        "first. Terms of opposite signs cancel. The mean over mini-batches of 32, as in the "
        "authors' code, which scores while it trains.",
        formula="group: mean over mini-batches of (sum of w g)^2, g = dL/dw over the mini-batch",
        source="Molchanov et al. 2019 (Taylor-FO), arXiv:1906.10771, eq. 8",
        pool="squared_sum",
        mini_batch=32,
        reads=Reads.LABELS,
        passes="1 forward, 1 backward, in mini-batches of 32",
    ),
    "snip": SNIP,
    "snip_batch": replace(
        SNIP,
        batch_statistics=True,
        label="SNIP (batch statistics)",
        help="SNIP as its authors run it: batch norms use the statistics of the batch, as in "
        "training. Made for fresh networks (rounds:fresh=1). The same as SNIP without batch norms.",
    ),
    "grasp": GRASP,
    "grasp_batch": replace(
        GRASP,
        batch_statistics=True,
        label="GraSP (batch statistics)",
        help="GraSP as its authors run it: batch norms use the statistics of the batch, as in "
        "training. Made for fresh networks (rounds:fresh=1). The same as GraSP without batch "
        "norms.",
    ),
    "obd": FunctionCriterion(
        obd,
        label="OBD (diagonal Fisher)",
        help="Weights whose removal changes the loss least, to second order, are removed first. It "
        "assumes that the slope of the loss is zero.",
        formula="s = w^2 mean_n g_n^2 / 2, g_n = the gradient of image n; group: sum",
        source="LeCun et al. 1990, Optimal Brain Damage; Theis et al. 2018, arXiv:1801.05787",
        pool="abs_sum",
        reads=Reads.LABELS,
        passes="1 forward, 1 backward, with a gradient of its own for every image",
    ),
    "obs": FunctionCriterion(
        obs,
        without_inputs,
        label="OBS (layer by layer)",
        help="Weights whose removal changes their layer's outputs least are removed first, if the "
        "other weights of the row are updated: choose the repair Optimal brain surgeon or Least "
        "squares. The inputs are those of the dense network.",
        formula="s = w_q^2 / (2 [H^-1]_qq), H = E[x x^T] + 0.01 mean(diag) I, x = the (unfolded) "
        "inputs of the layer; group: sum",
        source="Frantar and Alistarh 2022 (OBC), arXiv:2208.11580; 2023 (SparseGPT), "
        "arXiv:2301.00774",
        pool="abs_sum",
        reads=Reads.IMAGES,
        passes="1 forward; an n x n inverse in a layer of n inputs per output",
    ),
    "seven": Seven(
        label="SEVEN",
        help="Weights with a small Taylor |w g|, summed over mini-batches of 32, are removed "
        "first. Noisy gradients lower the score. Where scores are equal, the first "
        "weights are removed; the authors' code keeps all weights whose score is at the threshold, "
        "so many zeros can all stay.",
        formula="s = sum over mini-batches of |w g m^ / (sqrt(v^) + 1e-9)|, "
        "m and v Adam's of |g|; group: mean",
        source="Xiao et al. 2024 (SEVEN), arXiv:2403.12688",
        reads=Reads.LABELS,
        passes="1 forward, 1 backward, in mini-batches of 32",
    ),
    "synflow": SynFlow(
        label="SynFlow",
        help="Weights on few or weak paths from input to output are removed first, in 100 rounds, "
        "so that no layer of a plain chain is emptied; a layer that a skip goes round can be. Its "
        "rounds go down to 1% for every target; the authors' code runs to each target. Made for "
        "plain ReLU networks: layer norm and softmax distort its signal.",
        formula="R = sum of f(1; |w|); |w dR/dw| ranked in 100 rounds, keeping 0.01^(k/100); "
        "s = place of removal; group: mean",
        source="Tanaka et al. 2020 (SynFlow), arXiv:2006.05467",
        reads=Reads.SHAPE,
        passes="100 forward, 100 backward, of one blank input in double precision",
    ),
    "wanda": FunctionCriterion(
        wanda,
        label="Wanda |w| ‖x‖",
        help="Small weights with weak inputs are removed first. The paper compares inside each "
        "row: choose the granularity Row or N:M. Inputs are those of the dense network; the flow "
        "Block by block reads those of the pruned one, as the authors do. Their code rounds the "
        "number that a row loses down, here to the nearest.",
        formula="s[o, j] = |w[o, j]| ||x_j||_2, x_j = the (unfolded) input that the weight "
        "multiplies; group: mean",
        source="Sun et al. 2023 (Wanda), arXiv:2306.11695",
        reads=Reads.IMAGES,
    ),
    "apoz": FunctionCriterion(
        apoz,
        without_relu,
        label="APoZ (share of zeros)",
        formula="s[o, i, h, w] = share of images and positions where output o is above 0; "
        "group: mean",
        source="Hu et al. 2016 (Network Trimming), arXiv:1607.03250",
        reads=Reads.IMAGES,
        per_filter=True,
    ),
    "mean_activation": FunctionCriterion(
        mean_activation,
        without_relu,
        label="Mean activation",
        formula="s[o, i, h, w] = mean over images and positions of max(output o, 0); group: mean",
        source="Molchanov et al. 2017, arXiv:1611.06440; Polyak and Wolf 2015",
        reads=Reads.IMAGES,
        per_filter=True,
    ),
    "random": Random(
        label="Random",
        formula="s ~ U(0, 1); group: mean",
        source="baseline of Blalock et al. 2020, arXiv:2003.03033",
    ),
}
"""A new criterion: one function (model, layers, batches) -> Scores, and one entry here."""


def criterion(name: str, seed: int = 0) -> Criterion:
    """The criterion of that name. "package.module:function" imports one of the user's own.

    seed: for criteria that draw random numbers. Raises PruningError for an unknown name.

    >>> criterion("taylor").pool
    'mean_abs'
    """
    if is_custom(name):
        return custom(name)
    chosen = find(CRITERIA, name, "criterion")
    return replace(chosen, seed=seed) if "seed" in {f.name for f in fields(chosen)} else chosen


def check_criterion(name: str) -> None:
    """Raises PruningError unless the name is in `CRITERIA` or is a module path; imports nothing."""
    if not is_custom(name):
        find(CRITERIA, name, "criterion")
