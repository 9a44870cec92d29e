"""Single words that the core puts into its sentences, for the catalogues.

`from_core` translates the values of a sentence too: "There is no criterion 'x'" needs "criterion".
Texts of the core with two words or more are found by `extract` itself.
"""

from explorer.texts.translate import N_

AXES = (
    N_("allocation"),
    N_("architecture"),
    N_("criterion"),
    N_("flow"),
    N_("granularity"),
    N_("model"),
    N_("optimizer"),
    N_("penalty"),
    N_("regulariser"),
    N_("repair"),
    N_("runtime"),
    N_("schedule"),
    N_("start"),
    N_("task"),
)
"""What a name is searched among: the axes of `pruning_core.registry.find`."""

GIVEN = (N_("data"), N_("nothing"), N_("plan"), N_("study"), N_("text"), N_("transform"))
"""What a user gives, in errors."""

TYPES = (
    N_("a dict"),
    N_("a list"),
    N_("a set"),
    N_("a str"),
    N_("a Tensor"),
    N_("a tuple"),
)
"""Types of values, as `pruning_core.errors.kind_text` calls them."""

KINDS = (
    N_("adapted"),
    N_("attention_in"),
    N_("attention_out"),
    N_("attention_proj"),
    N_("bilinear"),
    N_("depthwise"),
    N_("embedding"),
    N_("experts"),
    N_("filter"),
    N_("kernel"),
    N_("linear"),
    N_("matrix"),
    N_("rnn"),
    N_("stacked"),
)
"""Kinds of layers, and groups of weights."""

COSTS = (N_("bytes"), N_("loss"), N_("parameters"), N_("time"))
"""What a budget limits."""

STARTS = (N_("Corrected"), N_("none"))
"""Choices without an entry of their own."""

RUNS = (
    N_("failed"),
    N_("fine-tune"),
    N_("finished"),
    N_("interrupted"),
    N_("running"),
    N_("search"),
)
"""How far a run is, and what made it."""

ORIGINS = (
    N_("delta_inversion"),
    N_("drawn"),
    N_("equal_accuracy"),
    N_("equal_loss"),
    N_("global"),
    N_("least_loss"),
    N_("random"),
    N_("threshold"),
    N_("uniform"),
)
"""Where the ratios of a candidate come from."""

SETTINGS = (
    N_("Batch"),
    N_("Cooling"),
    N_("Decay"),
    N_("Draws"),
    N_("First"),
    N_("Heat"),
    N_("Hidden"),
    N_("Memory"),
    N_("Moved"),
    N_("Mutation"),
    N_("Nearness"),
    N_("Noise"),
    N_("Parents"),
    N_("Population"),
    N_("Probe"),
    N_("Step"),
    N_("Warmup"),
)
"""Settings of searches."""

OWN = (N_("missing"), N_("texts"), N_("unexpected"), N_("value"))
"""What differs between a checkpoint and a network; what a file and a task of the user's give."""

NETWORKS = (N_("Masked"), N_("masks"), N_("mixed"), N_("multiply-adds"), N_("thin"), N_("weights"))
"""Forms of a network, and what is counted and kept of it."""

CARD = (
    N_("Quality"),
    N_("Remarks"),
    N_("Use"),
    N_("Widths"),
    N_("after"),
    N_("before"),
    N_("layer"),
)
"""Titles and heads of tables of a model card."""

SYSTEM = (
    N_("File exists"),
    N_("File name too long"),
    N_("Is a directory"),
    N_("No space left on device"),
    N_("No such file or directory"),
    N_("Not a directory"),
    N_("Permission denied"),
    N_("Read-only file system"),
)
"""Reasons of the operating system, in errors about files."""

FORMATS = (N_("Bitmap"),)
"""Storage formats."""
