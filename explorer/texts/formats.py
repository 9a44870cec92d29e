"""What the page says more than once: help for each term, and numbers as people read them."""

from pruning_core.criteria import Criterion
from pruning_core.flows import Flow
from pruning_core.registry import Entry
from pruning_core.types import Evaluation

LEAD = "Remove weights from a trained network and watch what happens to its accuracy."

HELP = {
    "model": "The trained network that is pruned. Its weights are never changed: every view works on a copy.",
    "dataset": "The images that the network was trained on and is measured on.",
    "granularity": "In what shape weights are cut: one by one, by kernel, by filter … Everything cut as one is a *group*.",
    "criterion": "How a weight's importance is scored. The lowest scores go first.",
    "allocation": "How the total is shared out: which layer loses how much.",
    "sparsity": "The share of weights to remove, over all layers that can be cut: 80% leaves one weight in five.",
    "seed": "Starts everything random, such as the Random criterion. On the CPU of one machine, with the same number of threads, "
    "the same seed gives the same masks. Results of different processors agree within float rounding only.",
    "probe": "Accuracy is measured live on this many validation images. More images: a narrower interval, a slower page.",
    "calibration": "Training images that criteria read which look at gradients or activations.",
    "allow_collapse": "Normally at least one group stays in every layer. Allowed to collapse, a layer can lose everything; "
    "the rankings Global and LAMP spare its best group all the same.",
    "schedule": "When to cut: all at once, or in rounds with fine-tuning after each. Explore shows one cut.",
    "flow": "How cutting and training go together. The page Fine-tune cuts in rounds; here every flow can run.",
    "published": "Sets criterion, shape, allocation and schedule as the paper has them; the sparsity stays yours.",
    "seven_noise": "SEVEN multiplies |w g| by a factor that is 1 for a steady gradient and falls as it gets noisy. Gradients of "
    "the calibration images are read in mini-batches of 32.",
    "seven_layer": "The layer whose gradients are read. A link to this page remembers it.",
    "flow_layer": "The layer whose mask is drawn over time. A link to this page remembers it.",
    "flow_moment": "0: before the first cut. Then one for each cut; where masks change in every step, about 24 in all.",
    "rounds": "How many rounds of cutting and fine-tuning.",
    "n": "N of every M neighbouring weights are kept.",
    "m": "The length of a run of neighbouring weights, along the input channels.",
    "p": "Filters in a block.",
    "q": "Input channels in a block.",
    "accuracy": "Share of validation images that the pruned network gets right, without any re-training. Measured just now.",
    "achieved": "Share of zeros now, in the layers that can be cut. Whole groups go: it can differ from the request. Computed.",
    "nonzeros": "Weights, biases and norm parameters that are not removed, of all parameters of the network. Thinned: without "
    "the weights that only read removed filters, as if the network were really made narrower. Computed.",
    "macs": "Multiply-adds per image that still have a non-zero weight. Time is saved only where zeros are skipped, or the "
    "network is thinned: then those that read removed filters go too. Computed.",
    "ratio": "The share of this layer's groups to remove. Moving the slider sets it by hand, in place of the allocation's share.",
    "cut": "N:M sets the share by itself. Off: this layer stays dense.",
    "lock": "Keep this layer at its present ratio, whatever the allocation and the global sparsity do.",
    "reset": "Give this layer back to the allocation.",
    "reset_all": "Give all layers back to the allocation.",
    "weights": "One tile per kernel: filters downwards, input channels across. Violet: above zero; orange: below; grey: gone.",
    "mask": "The same picture: what is kept and what is removed. Wide gaps separate the groups that are cut as one.",
    "view": "A large layer is drawn downsampled; the close-up shows a part of it weight by weight.",
    "histogram": "Each group's score. The lowest scores go; the height says how many groups have that score.",
    "grid": "The sparsities at which every layer is measured. More points: finer curves, a longer scan.",
    "grid_values": "Sparsities to measure, in percent of the layer's groups. The dense network is always measured too.",
    "measure": "Accuracy is what counts in the end; loss, in nats, also shows how sure the network still is.",
    "tied": "Layers whose output channels are added together, or feed a depthwise convolution, lose the same channels at once, "
    "chosen by the mean of their scores, as if the network were really made narrower. Off: each layer alone; then what the other "
    "branches bring goes on, and the layer seems sturdier than its channels are.",
    "paired": "Change against the dense network on the same images, with its 95% interval (Tango 1998): only images whose answer "
    "became right or wrong count. An interval that holds 0 can be chance.",
    "highlight": "The layer whose curve is drawn strongly. A click on a name in the legend hides that curve.",
    "slice": "The sparsity, of each layer alone, at which the bars below compare the layers.",
    "target": "The share of all weights of the scanned layers that should go in total.",
    "worst_alone": "The lowest accuracy that any single curve promises at its ratio. All cuts together usually cost more.",
    "scan": "Each layer in turn is cut at every sparsity of the grid, the others stay whole, accuracy is measured. Nothing "
    "is trained.",
    "preview": "The same curves in about a tenth of the time, spent where it tells most. Bands say how unsure each point "
    "is; nothing is ranked by it.",
    "bounds": "No layer loses less or more than this, as far as its curve goes and whole groups allow. Where the target cannot "
    "be met so, the page says it.",
    "multiple": "The groups that stay in each layer are a multiple of this (8 channels, say, where hardware works in eights), or "
    "all stay.",
    "epochs": "How often one training sees all training images. 0: no training, only cutting and measuring.",
    "optimizer": "How a gradient becomes a step. SGD: Nesterov momentum; AdamW: step sizes adapt to each weight.",
    "lr": "The largest step size. Too high: the loss explodes; too low: slow. Usual for SGD: 0.01, for AdamW: 0.001.",
    "batch_size": "Training images per step.",
    "weight_decay": "Pulls weights towards zero in every step, against overfitting.",
    "momentum": "How much of the last step is carried on into the next one (SGD only).",
    "cosine": "Lets the learning rate fall to zero along half a cosine wave over the epochs of a round.",
    "warmup": "The share of the steps in which the learning rate rises from zero to its peak.",
    "tune_seed": "Fixes the order of the training images. On the CPU of one machine, with the same number of threads, the same "
    "seed gives the same weights. Results of different processors agree within float rounding only.",
    "augment": "Shifts (and mirrors, where that makes sense) the training images at random.",
    "label_smoothing": "Asks for a little less than full certainty, which can help accuracy.",
    "penalty": "What is added to the loss in every training step, so that training itself makes weights small before or between "
    "cuts. Accuracy and the losses shown are without it.",
    "penalty_shape": "The groups that are made small as one. The plan's shape of a cut is the natural choice.",
    "penalty_strength": "How strongly the penalty counts against the loss.",
    "states": "Dense: the trained network as it is. Pruned: cut, nothing else. BN recalibrated: cut, then the averages of "
    "its batch norms measured anew, no training. Fine-tuned: cut and trained on, removed weights held at zero.",
    "interval": "Wilson 95% interval: measured on other images of this kind, the network's accuracy would likely lie here.",
    "flips": "Two networks of equal accuracy can err on different images. These are the images whose answer changed.",
    "export_weights": "Which network the files hold: the base one with this plan's masks, or the one fine-tuned with them.",
    "closer": "Four ways to look into this layer. Each is computed when you choose it; click it again to close it.",
    "dropping": "Regularisers of training, not pruning: what is dropped is random, forgotten after each pass and back when the "
    "network is used.",
    "freeze": "Makes exactly this mask the plan's, which is random pruning: measured at the top of the page, exported, kept in "
    "the address. It sets Importance to Random, Shape of a cut to {shape}, Share per layer to Manual, the seed to {number} (the "
    "pass) and this layer's ratio to what was dropped. They hold for the whole plan: all other layers become whole, but for "
    "those frozen from the same pass before. Back in the browser undoes it.",
    "multiples": "The finer the shape, the freer the choice of weights, and usually the less accuracy is lost at the same share; "
    "the coarser, the easier zeros become speed. N:M sets its own share.",
    "image": "One of the images that accuracy is measured on, by number.",
    "feature_maps": "What each output channel of the layer makes of the image, before batch norm and activation. Violet: above "
    "zero; orange: below.",
    "attention_maps": "Row by row: how much each token (patch of the image) attends to each other one, across; a row sums to 1.",
    "unit_maps": "What each output of the layer says at each token (patch of the image), before activation. Violet: above zero; "
    "orange: below.",
    "units": "What each output of the layer says about the image: one number.",
    "filter": "A filter makes one output channel of the layer (for a Linear layer: one output).",
    "kernels": "A filter has one kernel for each input channel.",
    "filter_ranks": "Each criterion's scores, pooled over a whole filter, as when filters are cut. Scores of different criteria "
    "have different units: compare ranks.",
    "filter_score": "The criterion's score of this filter. High: keep.",
    "filter_rank": "1 goes first.",
    "costly_shapes": "For a large network that takes minutes, so it is your choice.",
    "costly": "They read gradients or activations. For a large network that takes minutes, so it is your choice.",
    "filter_percentile": "The share of the layer's other filters that score lower. High: stays long.",
    "study": "Runs in the background, and keeps every finished run on disk: after a stop or a restart it goes on where it was.",
    "study_state": "Before: right after the cut, with the masks that the run ended with. After: with the fine-tuning.",
    "study_json": "For `python -m pruning_core study study.json`, which makes the same runs and finds those made here.",
    "study_criteria": "What decides which weights go. Each one is measured at every compression with every seed.",
    "study_granularities": "In what shape weights are cut. N:M has one compression, its own.",
    "study_compressions": "2×: half of the weights go, 4×: three in four ..., of the layers that can be cut. Biases and norms "
    "stay, so the whole network reaches a little less.",
    "study_seeds": "So many runs each, with other training and calibration images, order and random scores. One seed says "
    "nothing about chance.",
    "study_images": "A run fine-tunes on so many training images, another part for each seed, class shares kept. Fewer: faster, "
    "and less comes back.",
    "study_earlier": "Choosing one sets this page, and the training and share per layer of the plan, as they were.",
    "layer": "The layer that is drawn below. A click on a row of the table chooses it too.",
}
"""One sentence or two per term."""

LAYER_KINDS = {
    "conv1d": "Convolution 1-D",
    "conv2d": "Convolution",
    "depthwise": "Depthwise conv.",
    "linear": "Linear",
    "attention_in": "Attention q, k, v",
    "attention_proj": "Attention q, k, v",
    "attention_out": "Attention output",
}


def entry_help(term: str, entry: Entry) -> str:
    """The term's sentence, then the chosen entry with formula and source, and what a criterion or
    flow costs, as a tooltip.
    """
    cost = (
        f"\n\nNeeds {entry.needs}; passes: {entry.passes}."
        if isinstance(entry, Criterion | Flow)
        else ""
    )
    return f"{HELP[term]}\n\n**{entry.label}**: {entry.help}\n\n`{entry.formula}`\n\n{entry.source}{cost}"


def percent(share: float, digits: int = 1) -> str:
    """0.875 -> 87.5%; whole numbers without a decimal; never 100% or 0% for what is not quite."""
    text = f"{100 * share:.{digits}f}"
    if (float(text) >= 100 and share < 1) or (float(text) <= 0 and share > 0):
        text = f"{100 * share:.{digits + 2}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "%"


def signed(change: float, interval: tuple[float, float]) -> str:
    """A change of accuracy with its 95% interval: -0.0123 -> "-1.2 points (95%: -2.0 to -0.5)";
    exactly none says so.
    """
    if not change and not any(interval):
        return "no change"
    low, high = interval
    return f"{100 * change:+.1f} points (95%: {100 * low:+.1f} to {100 * high:+.1f})"


def whole_percent(share: float) -> int:
    """0.54 -> 54, for sliders; 100 and 0 only for what is exactly that."""
    return round(100 * share) if share in (0, 1) else min(99, max(1, round(100 * share)))


def count(number: float) -> str:
    """1234567 -> 1.23 M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            scaled = number / (1e3 if unit == "k" else size)
            return f"{scaled:.3g} {unit}" if scaled < 1000 else f"{scaled:.0f} {unit}"
    return f"{number:,.0f}"


def interval(found: Evaluation) -> str:
    """The 95% interval of the accuracy."""
    low, high = found.interval
    return f"{100 * low:.1f}–{100 * high:.1f}%"


def shape(sizes: tuple[int, ...]) -> str:
    """16 × 3 × 3 × 3."""
    return " × ".join(map(str, sizes))
