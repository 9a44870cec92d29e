"""Texts of the core that are one word, marked for the catalogue. `_` and `from_core` show them."""

from explorer.texts.translate import N_

WORDS = (
    # where a run was measured
    N_("test"),
    N_("validation"),
    # how far a run is
    N_("running"),
    N_("finished"),
    N_("interrupted"),
    N_("failed"),
    # what made a run
    N_("flow"),
    N_("study"),
    N_("search"),
)
