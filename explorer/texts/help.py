"""The help text of each term that the pages use.

The tables need no marks: `extract` reads all values of `TEXTS`.
"""

from collections.abc import Callable, Iterator, Mapping

from explorer.texts.glossary_links import glossary_link
from explorer.texts.translate import N_, _, from_core
from pruning_core.criteria import Criterion
from pruning_core.flows import Flow
from pruning_core.registry import Entry

LEAD = N_("Remove weights from a trained network and measure what happens to its accuracy.")

SAME_SEED = (
    "On the CPU of one machine, with the same number of threads, the same seed gives the same "
    "{result}. Results of different processors agree within float rounding only."
)
SIGNS = "Violet: above zero; orange: below zero."
MINUTES = "For a large network this takes minutes, so it starts only on request."

AXES = {
    "model": "The trained network that is pruned. Its weights never change: all pages use copies.",
    "dataset": "The data that the network was trained on and is measured on.",
    "granularity": "Which weights are removed together: single weights, kernels, filters … "
    "All weights that are removed together form a *group*.",
    "criterion": "The score of each weight. The groups with the lowest scores are removed first.",
    "allocation": "How the sparsity is distributed over the layers.",
    "sparsity": "The fraction of weights to remove, over all layers that can be pruned. "
    "80% keeps one weight in five.",
    "repair": "What may change in the pruned network before it is measured, without training. It "
    "reads the calibration images. Curves, comparisons and exports use it too.",
    "schedule": "When weights are removed: all at once, or in rounds with fine-tuning after each. "
    "The Explore page prunes once.",
    "rounds": "The number of rounds. Each round removes weights and fine-tunes.",
    "n": "The number of weights that are kept in every M neighbouring weights.",
    "m": "The number of neighbouring weights, along the input channels.",
    "p": "The number of filters in a block.",
    "q": "The number of input channels in a block.",
    "seed": f"The start of all random numbers. {SAME_SEED.format(result='masks')}",
    "probe": "The number of probe images, a part of the validation images. Accuracy is measured on "
    "them after each change. More images give a narrower interval and a slower page.",
    "calibration": "The number of training images for criteria that use gradients or activations, "
    "and for the repair.",
    "start": "The network is sparse already. On: weights that are zero count as removed. They stay "
    "zero in every training and count in the sparsity. Off: all weights compete, and training may "
    "change zeros.",
    "norms": "A layer norm, group norm or RMS norm averages over channels. Off: over all channels, "
    "with zeros for removed ones. On: over kept channels only, as a network without the removed "
    "channels does. It matters where whole filters are removed together with all layers that are "
    "tied to them.",
    "same_channels": "Layers whose outputs are added together, or that feed a depthwise "
    "convolution, are tied. Off: each layer removes its own filters; where tied layers remove "
    "different ones, the thinned network keeps the channels that any of them keeps. On: they "
    "remove the same channels, by the mean of their scores; where a layer holds a channel in "
    "several outputs, as a grouped convolution does, it loses all of them. A search sets it.",
    "allow_collapse": "Off: at least one group stays in every layer. On: a layer can lose all its "
    "groups. The allocations Global and LAMP still keep its best group.",
}
"""The choices of the side bar."""

COUNTS = {
    "accuracy": "The fraction of probe images, a part of the validation images, that the pruned "
    "network classifies correctly, without training after pruning. Measured now.",
    "together": "Uniform, Global, LAMP, ERK and the four rules from curves are measured first. "
    "Then the ratio of one layer after the other moves up or down by 10, then by 5 points; all "
    "others change a little, so that the target stays. A move is kept where the loss of the whole "
    "plan is lower.",
    "removed": "The removed part of all parameters of the network. The line below says which part "
    "of the weights that this granularity can prune. Whole groups are removed, so it can differ "
    "from the request. Computed.",
    "nonzeros": "The weights, biases and norm parameters that are kept, of all parameters of the "
    "network. Thinned: also without the weights that only read removed filters, as if the network "
    "were really made narrower. Computed. Where the network's own code fixes a width, the thinned "
    "network of the page Export keeps more, and says why.",
    "dense_file": "All weights and buffers as PyTorch stores them, zeros too. Computed.",
    "stored_file": "The smallest of the formats that store only nonzeros and where they stand. "
    "Computed; sparse.safetensors below is compressed as well.",
    "index_bits": "Relative index and Index per group store the distance from one nonzero (or kept "
    "group) to the next. Fewer bits make each entry smaller, but long distances need filler "
    "zeros. In the papers: 8 bits in convolutions, 5 in linear layers, 4 between groups.",
    "share_bits": "The kept weights of each layer take one of 2^bits values, which k-means finds "
    "(Deep Compression). A file stores each value once, and a code for each weight. The network "
    "changes, so its value on the test split is measured again.",
    "storage_write": "Writes the dense file compressed by gzip and by xz, and sparse.safetensors, "
    "and counts their bytes. It takes about a second per million kept weights.",
    "round_to": "Hardware computes fastest with widths that are multiples of 8 or 16. Each layer "
    "keeps more of its channels, those with the largest L2 norm, up to such a multiple. This is a "
    "larger network with another value, which is measured on the test split beside the first one.",
    "latency_batches": "How many samples one forward pass computes. The card above shows the "
    "largest.",
    "latency": "How many times as fast as the dense network, for a whole forward pass. "
    "Above 1 it is faster. Measured on the server's processor, in pairs with the dense network.",
    "macs": "The multiply-adds per image with a non-zero weight. They save time only where the "
    "hardware skips zeros or the network is thinned. Thinning also removes the multiply-adds that "
    "read removed filters. Computed. The page Export measures the time, and computes stored bytes.",
    "interval": "Wilson 95% interval of the accuracy. On other images of this kind, the accuracy "
    "would probably be in this interval.",
    "paired": "The change against the dense network on the same images, with its 95% interval "
    "(Tango 1998). Only images whose answer became right or wrong count. If the interval contains "
    "0, the change can be chance.",
}
"""The numbers that several pages show."""

EXPLORE = {
    "lesson_title": "Shown above the page to everybody who opens the link. Up to 80 characters.",
    "lesson_task": "What to do with the controls. Up to 400 characters.",
    "lesson_question": "What to find out. Up to 300 characters.",
    "layer": "The layer that is drawn below. You can also click a box of the network, or a row of "
    "the table.",
    "ratio": "The fraction of this layer's groups to remove. Moving the slider sets it by hand, "
    "instead of the allocation.",
    "cut": "N:M defines the fraction by itself. Off: this layer stays dense.",
    "repaired": "The means and variances of the batch norms are measured again with the pruned "
    "network, on the calibration images. Nothing is trained. Removed weights change what the "
    "batch norms receive, so the old statistics no longer fit.",
    "farthest_limit": "Loss: the largest sparsity within the chosen loss. File size: the "
    "smallest sparsity whose stored network fits. Time: the smallest sparsity whose thinned "
    "network is fast enough, measured on the server's processor.",
    "farthest_lose": "The largest loss that you accept, against the dense network on the same "
    "samples.",
    "whole_network": "Prunes the whole network by every granularity at the same sparsity, with the "
    "same criterion, allocation and repair. N:M has its own sparsity. Ratios by hand stay; groups "
    "kept or removed by hand count at their own granularity only.",
    "farthest_sure": "Off: the measured loss must be within the limit. On: also the worst end of "
    "its 95% interval, so the sparsity found is smaller.",
    "lock": "Keeps the present ratio of this layer when the allocation or the sparsity changes.",
    "reset": "The allocation computes this layer's ratio again.",
    "reset_all": "The allocation computes the ratios of all layers again.",
    "weights": "One tile per kernel: filters downwards, input channels across. "
    "Violet: above zero; orange: below zero; grey: removed.",
    "mask": "The same picture: which weights are kept and which are removed. Wide gaps separate "
    "the groups.",
    "view": "A large layer is drawn downsampled. The close-up shows a part of it by weight.",
    "histogram": "The scores of all groups. The height is the number of groups with that score. "
    "The groups with the lowest scores are removed.",
    "closer": "Four ways to look into this layer. Each one is computed when you choose it. "
    "Click it again to close it.",
    "multiples": "A finer granularity has more choice, so it usually loses less accuracy at the "
    "same ratio. With a coarser one, zeros are easier to turn into speed. N:M has its own ratio.",
    "costly_shapes": MINUTES,
    "dropping": "Regularisation during training, not pruning. What is dropped is random, it "
    "changes in every pass, and nothing is dropped when the network is used.",
    "freeze": "Uses exactly this mask in the plan, which is random pruning. The top of the page "
    "measures it, you can export it, and it is in the address. It sets Criterion to Random, "
    "Granularity to {granularity}, Allocation to Manual, the seed to {number} (the pass) and this "
    "layer's ratio to the fraction that was dropped. These settings hold for the whole plan: all "
    "other layers are kept whole, except those frozen from the same pass before. The browser's "
    "Back undoes it.",
    "image": "The number of one of the images on which accuracy is measured.",
    "feature_maps": "Each output channel of the layer for this image, before batch norm and "
    f"activation. {SIGNS}",
    "attention_maps": "Each row is one token (patch of the image): how much it attends to each "
    "other token. A row sums to 1.",
    "unit_maps": "Each output of the layer at each token (patch of the image), before activation. "
    f"{SIGNS}",
    "units": "The value of each output of the layer for this image.",
    "filter": "A filter makes one output channel of the layer. In a Linear layer: one output.",
    "kernels": "A filter has one kernel for each input channel.",
    "filter_ranks": "The scores of each criterion, pooled over a whole filter, as for the "
    "granularity Filter. Scores of different criteria have different units: compare ranks.",
    "filter_score": "The criterion's score of this filter. High: keep.",
    "filter_rank": "The filter with rank 1 is removed first.",
    "filter_percentile": "The fraction of the layer's other filters with a lower score. "
    "High: removed late.",
    "costly": f"These criteria read gradients or activations. {MINUTES}",
}
"""The Explore page."""

SENSITIVITY = {
    "grid": "The sparsities at which every layer is measured. More points give finer curves and a "
    "longer scan.",
    "grid_values": "The sparsities to measure, in percent of the layer's groups. The dense network "
    "is always measured too.",
    "measure": "Accuracy is the final measure. Loss, in nats, also shows how certain the network "
    "is.",
    "tied": "Some layers have output channels that are added together, or that feed a depthwise "
    "convolution. On: such layers lose the same channels together, selected by the mean of their "
    "scores, as if the network were really made narrower. Off: each layer is pruned alone. Then "
    "the other branches still fill its removed channels, and the layer seems less sensitive than "
    "its channels are.",
    "highlight": "The layer whose curve is drawn with a strong line. Click a name in the legend to "
    "hide that curve.",
    "slice": "The sparsity, of each layer alone, at which the bars below compare the layers.",
    "target": "The fraction of all weights of the scanned layers to remove in total.",
    "worst_alone": "The lowest accuracy of any single curve at its ratio. All layers "
    "pruned together usually lose more.",
    "scan": "Prunes one layer at a time at every sparsity of the grid, keeps the others dense, and "
    "measures accuracy. Nothing is trained.",
    "preview": "Estimates the same curves in about a tenth of the time; for a small network "
    "it needs more. It measures where a measurement reduces the uncertainty "
    "most. The bands show how uncertain each point is. The preview does not rank the layers.",
    "bounds": "The smallest and the largest ratio of a layer, as far as its curve and whole groups "
    "allow. The page says so if the target cannot be reached within them.",
    "multiple": "The number of groups that are kept in each layer is a multiple of this number, "
    "or all groups are kept. For example 8, for hardware that computes eight channels at a time.",
}
"""The Sensitivity page."""

TRAINING = {
    "epochs": "How often one training uses all training images. 0: no training, only pruning and "
    "measuring.",
    "optimizer": "How a gradient becomes a step. SGD: with Nesterov momentum. AdamW: with a step "
    "size that adapts to each weight.",
    "lr": "The largest step size. If it is too high, the loss explodes; if it is too low, training "
    "is slow. Usual: 0.01 for SGD, 0.001 for AdamW.",
    "batch_size": "The number of training images per step.",
    "weight_decay": "Reduces all weights a little in every step, against overfitting.",
    "momentum": "The fraction of the last step that is added to the next one (SGD only).",
    "cosine": "Reduces the learning rate to zero along half a cosine wave over the epochs of a "
    "round.",
    "warmup": "The fraction of the steps in which the learning rate rises from zero to its peak.",
    "tune_seed": "The seed of the order of the training images. "
    f"{SAME_SEED.format(result='weights')}",
    "augment": "Shifts the training images at random, and mirrors them where that makes sense.",
    "label_smoothing": "Trains towards a little less than full certainty, which can improve "
    "accuracy.",
    "penalty": "A term that is added to the loss in every training step. It makes weights small "
    "before they are removed. The accuracy and the losses shown do not include it.",
    "penalty_shape": "The granularity of the penalty: which weights it makes small together. "
    "Usual: the plan's granularity.",
    "penalty_strength": "The factor of the penalty in the loss.",
    "states": "Dense: the trained network. Pruned: weights removed, then repaired if the plan has "
    "a repair. BN recalibrated: weights removed, then the averages of the batch norms measured "
    "again on the calibration images, without training. Fine-tuned: pruned and trained, with "
    "removed weights held at zero.",
    "flips": "Two networks of equal accuracy can be wrong on different images. These are the "
    "images whose answer changed.",
}
"""The Fine-tune page and the training settings of other pages."""

FLOWS = {
    "flow": "How pruning and training are combined. The Fine-tune page prunes in rounds; this page "
    "can run every flow.",
    "published": "Sets criterion, granularity, allocation and schedule as in the paper. It does "
    "not change the sparsity.",
    "seven_noise": "SEVEN multiplies |w g| by a factor: 1 for a steady gradient, lower for a noisy "
    "one. Gradients of the calibration images are read in mini-batches of 32.",
    "seven_layer": "The layer whose gradients are read. It is in the address.",
    "goal_lose": "The flow stops before a round that loses more than this against the dense "
    "network, measured on the probe images after the round's training. The last good round is the "
    "result. Empty: no limit.",
    "goal_budget": "The flow stops when at most this share of the dense network remains, counted "
    "without the weights that read only removed channels. Stored bytes: in the smallest sparse "
    "format, computed. Time: of the thinned network, measured against the dense one in each round, "
    "in PyTorch on this CPU. The last round removes no more than is needed. Empty: no budget.",
    "goal_rounds": "Each point is the network at the end of one round. The goal is set in the "
    "form. A round that misses it is given up.",
    "flow_layer": "The layer whose mask is drawn over time. It is in the address.",
    "flow_moment": "0: before the first mask update. Then one point for each mask update. If masks "
    "change in every step, about 24 points in all.",
}
"""The Flows page."""

METHODS = {
    "study": "Runs in the background and keeps every finished run on disk. After a stop or a "
    "restart it continues with the missing runs.",
    "study_state": "Before: after pruning, with the masks that the run had at its end. After: with "
    "fine-tuning.",
    "study_axis": "Compression: parameters of the network / parameters left. Speed-up: "
    "multiply-adds of the network / multiply-adds left. Storage: dense bytes / bytes in the "
    "smallest sparse format, for runs that have it. These are computed. Measured time: dense time "
    "/ time of the pruned network, in pairs on this machine, for studies with *Measure time*.",
    "study_json": "For `python -m pruning_core study study.json`. It makes the same runs and "
    "reuses those made here.",
    "study_criteria": "The criteria to compare. Each one is measured at every compression with "
    "every seed.",
    "study_granularities": "The granularities to compare. N:M has only one compression.",
    "study_compressions": "2×: half of the weights are removed, 4×: three in four, … of the layers "
    "that can be pruned. Biases and norms stay, so the compression of the whole network is a "
    "little lower.",
    "study_seeds": "The number of runs of each method. Each seed has other training and "
    "calibration images, another order and other random scores. One seed cannot show the effect "
    "of chance.",
    "study_images": "The number of training images for fine-tuning in each run. Each seed uses "
    "another part, with the same class fractions. Fewer images are faster, and less accuracy "
    "returns.",
    "study_time": "Measures the time of each pruned network against the dense one, once per run, "
    "in PyTorch on this CPU: one more axis and column. Whole channels are removed first. Time is "
    "comparable only where nothing else ran. It makes another study, with runs of its own.",
    "study_earlier": "Sets this page, and the training and the allocation of the plan, to those of "
    "an earlier study.",
}
"""The Methods page."""

EXPORT = {
    "export_weights": "The network in the files: the base network with this plan's masks, or the "
    "one that was fine-tuned with them.",
}
"""The Export page."""

SEARCH = {
    "search": "How the ratios are proposed. Every method is measured in the same way.",
    "search_budget": "What a candidate may keep at most. Whole filters and heads are counted on "
    "the thinned network, other granularities on the masked one. A time is measured: the thinned "
    "network in pairs with the dense one, in PyTorch on this machine. It takes about two seconds "
    "for each candidate, and a busy machine makes it uncertain.",
    "search_keep": "The share of the dense network that may remain. Every candidate meets it "
    "within half a percent.",
    "search_front": "Candidates of every size are tried. The chart shows which ones no other "
    "candidate beats in both value and cost.",
    "search_evaluations": "How many candidates are measured. Candidates that were measured before, "
    "by any method, take no time.",
    "search_seed": "Equal seeds give equal candidates. Compare methods over several seeds.",
    "search_start": "Runs in the background. You can use the other pages meanwhile. Measured "
    "candidates are kept on disk: a stopped search continues where it ended.",
    "search_over": "The cost on the horizontal axis.",
    "search_shown": "Its ratios are below. A click on a point of the chart chooses one too.",
    "search_open": "Sets the ratios in the plan, as if you had set them by hand, with the repair "
    "that the candidate was measured with, and opens the page Explore.",
    "lab_count": "How many candidates of the newest search are fine-tuned, evenly from its worst "
    "to its best.",
    "lab_epochs": "The length of each fine-tuning. The other settings are those of the plan.",
    "search_tune": "Sets the ratios in the plan and opens the page Fine-tune & compare.",
}
"""The Search page."""

OWN = {
    "own_button": "Upload a checkpoint of your own and images as a zip, or open an earlier upload.",
    "own_name": "The name that the side bar showed. It opens the upload in every browser.",
    "own_architecture": "A network of this program, or a classifier of torchvision with any number "
    "of classes. Type to search.",
    "own_checkpoint": "A safetensors file, or a state_dict saved by torch.save. Nothing in the "
    "file is run. Prefixes such as module. and containers such as state_dict are removed.",
    "own_normalisation": "What was subtracted from the pixels, in [0, 1], and what they were "
    "divided by. Wrong numbers cost accuracy, so they are never guessed.",
    "own_channels": "Colour images have 3 channels. For 1, images are converted to grey.",
    "own_size": "Height and width of an input, in pixels.",
    "own_resize": "Images are resized to this shorter side, and the centre is cut out. Empty: the "
    "input size.",
    "own_mean": "One number for all channels, or one per channel: 0.485, 0.456, 0.406.",
    "own_std": "One number for all channels, or one per channel: 0.229, 0.224, 0.225.",
    "own_zip": "One folder per class, in train/ and test/ (or val/), or alone. Splits that are "
    "missing are made from the training images. Images that are in no class folders are judged by "
    "the agreement with the dense network. Hidden files and __MACOSX are left out.",
    "own_dataset": "The images are prepared as stated above, not as this data set usually is.",
    "own_names": "Needed where the network has more outputs than the images have classes, or where "
    "its outputs are not in the order of the sorted folder names. For a single output: the class "
    "for which it is above zero, if it is not the second one.",
    "own_masks": "Masks of this program's Export page (npz, safetensors, pt), or a state_dict of "
    "torch.nn.utils.prune. What they remove stays removed.",
    "own_weights": "The file has several sets of weights, such as an average (EMA).",
}
"""The dialog that opens a network of the visitor's."""

TEXTS = OWN | AXES | COUNTS | EXPLORE | SENSITIVITY | TRAINING | FLOWS | METHODS | SEARCH | EXPORT
"""Term -> help text in English."""


_reword: list[Callable[[str], str]] = [lambda text: text]


def reword_with(reword: Callable[[str], str]) -> None:
    """Sets the function that puts a text about images into the words of the page's task."""
    _reword[0] = reword


def _words(term: str) -> str:
    """The text of a term, in the words of the page's task. What uploads need stays images."""
    text = _(TEXTS[term])
    return text if term in OWN else _reword[0](text)


class _Help(Mapping[str, str]):
    """Term -> help text in the page's language, with a link to the glossary."""

    def __getitem__(self, term: str) -> str:
        return f"{_words(term)}\n\n{glossary_link(term)}"

    def __iter__(self) -> Iterator[str]:
        return iter(TEXTS)

    def __len__(self) -> int:
        return len(TEXTS)


HELP = _Help()
"""Term -> help text in the page's language. Look a term up where the text is shown."""


def named(name: str, text: str) -> str:
    """A text after the name that it is about. Both are in the page's language."""
    return _("**{name}**: {text}", name=name, text=text)


def entry_help(term: str, entry: Entry) -> str:
    """The tooltip of a select box: the term, then the selected entry with formula and source.

    For a criterion or a flow it also says what the entry needs.
    """
    text = named(from_core(entry.label), from_core(entry.help))
    description = _reword[0](f"{text}\n\n`{entry.formula}`")
    parts = [_words(term), description, from_core(entry.source)]
    if isinstance(entry, Criterion | Flow):
        needs = _reword[0](from_core(entry.needs))
        passes = from_core(entry.passes)
        parts.append(_("Needs {needs}; passes: {passes}.", needs=needs, passes=passes))
    return "\n\n".join((*parts, glossary_link(term)))
