"""The texts of the mask lab. The browser gets them in the page's language, and fills their places.

A text with " | " is a label and its value.
"""

from explorer.texts.translate import N_, _

CONTROLS = {
    "picture": N_("Picture"),
    "side": N_("Side by side"),
    "weights": N_("Weights"),
    "scores": N_("Scores"),
    "mask": N_("Mask"),
    "group_scores": N_("Group scores"),
    "undo": N_("Undo"),
    "undo_label": N_("Undo the last hand edit"),
    "undo_title": N_("Undo the last hand edit (Ctrl+Z)"),
    "redo": N_("Redo"),
    "redo_label": N_("Redo the hand edit"),
    "redo_title": N_("Redo the hand edit (Ctrl+Y)"),
    "clear": N_("Clear edits"),
    "clear_label": N_("Clear edits of this layer"),
    "clear_title": N_("Delete all hand edits of this layer"),
    "out_label": N_("Zoom out"),
    "out_title": N_("Zoom out (−)"),
    "fit": N_("Fit"),
    "fit_label": N_("Fit the whole layer"),
    "fit_title": N_("Show the whole layer (0)"),
    "in_label": N_("Zoom in"),
    "in_title": N_("Zoom in (+)"),
    "remove": N_("Remove"),
    "ratio_label": N_("Remove"),
    "cut": N_("Prune this layer {pattern}"),
    "stage": N_("picture of a layer"),
    "map_title": N_("The visible part of the layer. Click to move it."),
    "keys": N_(
        "Point at a cell to read it. Click to keep or remove its group by hand. Wheel: zoom. "
        "Drag: move. Keyboard: arrows move the cell, <kbd>Enter</kbd> keeps or removes its group, "
        "<kbd>Shift</kbd>+click or <kbd>Shift</kbd>+<kbd>Enter</kbd> selects it without an edit, "
        "<kbd>+</kbd> <kbd>−</kbd> <kbd>0</kbd> zoom, <kbd>Shift</kbd>+arrows move the picture, "
        "<kbd>Ctrl</kbd>+<kbd>Z</kbd> / <kbd>Y</kbd> undo and redo."
    ),
}
"""A key with _label or _title is that attribute of the element with the key before it."""

LEGEND = {
    "kept": N_("kept"),
    "removed": N_("removed"),
    "kept_by_hand": N_("kept by hand"),
    "removed_by_hand": N_("removed by hand"),
    "least": N_("score, lowest {score}"),
    "most": N_("highest {score}"),
    "clipped": N_("≥ {score} (highest 0.5%)"),
}

FACTS = {
    "output_at": N_("output | {n}"),
    "input_at": N_("input | {n}"),
    "filter_at": N_("filter | {n}"),
    "channel_at": N_("channel | {n}"),
    "outputs_at": N_("outputs | {run}"),
    "inputs_at": N_("inputs | {run}"),
    "filters_at": N_("filters | {run}"),
    "channels_at": N_("channels | {run}"),
    "run": N_("{first} to {last}"),
    "row_at": N_("row | {n}"),
    "column_at": N_("column | {n}"),
    "head_at": N_("head | {n}"),
    "head_query": N_("head | {n}, query"),
    "head_key": N_("head | {n}, key"),
    "head_value": N_("head | {n}, value"),
    "weight": N_("weight | {number}"),
    "score": N_("group score | {number}"),
    "rank": N_("rank | {place} of {groups}, lowest first"),
    "rank_in": N_("rank | {place} of {groups} in scope {scope}, lowest first"),
    "removed_at": N_("removed | at {share}"),
    "never_at": N_("never removed | at {share}"),
    "never": N_("never removed | "),
    "unedited_removed_at": N_("without the edit removed | at {share}"),
    "unedited_never_at": N_("without the edit never removed | at {share}"),
    "unedited_never": N_("without the edit never removed | "),
    "last_of_scope": N_("removed by hand, but kept: it is the last group of its scope"),
    "mean": N_("mean |weight| | {number}"),
    "kept_about": N_("kept, about | {share}"),
    "point": N_("Point at a cell, or move over the picture with the arrow keys."),
}
"""The cell under the pointer."""

SENTENCES = {
    "outputs": N_("outputs"),
    "inputs": N_("inputs"),
    "filters": N_("filters"),
    "channels": N_("channels"),
    "a_matrix": N_("{name}: a matrix of {o} outputs by {i} inputs."),
    "a_conv": N_("{name}: {o} filters by {i} channels of {h} by {w}."),
    "a_block": N_("Each cell stands for {down} by {across} {rows} by {columns}."),
    "a_deep_block": N_(
        "Each cell stands for {down} by {across} {rows} by {columns}; zoom in for single weights."
    ),
    "arrows": N_("Arrow keys move from cell to cell, plus and minus zoom."),
    "arrows_edit": N_(
        "Arrow keys move from cell to cell, Enter keeps or prunes a group by hand, plus and minus "
        "zoom."
    ),
    "near": N_(
        "Full detail inside the dashed frame: {rows} {top} to {bottom}, {columns} {left} to "
        "{right}, every weight."
    ),
    "outside": N_(
        "Reduced outside: a cell stands for {down} × {across} {rows} × {columns} and shows their "
        "mean |weight|."
    ),
    "reduced": N_(
        "Reduced: a cell stands for {down} × {across} {rows} × {columns} and shows their "
        "mean |weight|."
    ),
    "reduced_share": N_(
        "Reduced: a cell stands for {down} × {across} {rows} × {columns} and shows their "
        "mean |weight|; its removed share is drawn to about 1%, the counts above are exact."
    ),
    "fetching": N_("Fetching single weights …"),
    "deeper": N_("Zoom in for single weights."),
    "deeper_edit": N_("Zoom in for single weights and hand edits."),
    "too_large": N_("Hand edits need a smaller layer."),
    "hint": N_("To edit by hand, zoom in until single weights are drawn."),
    "last": N_(
        "The last group of a scope is kept. To allow its removal: More settings, A layer may "
        "collapse."
    ),
    "no_groups": N_("This layer cannot be pruned with these choices. The reason is below."),
    "undone": N_("Undone. {counts}"),
    "redone": N_("Redone. {counts}"),
    "cleared": N_("Edits cleared. {counts}"),
}
"""Sentences below the pictures, and those that are only spoken."""

COUNTS = {
    "count_groups": N_("removed: <b>{removed}</b> of {groups} groups"),
    "count_of_groups": N_("<b>{weights}</b> of {of} weights ({share})"),
    "count_weights": N_("removed: <b>{weights}</b> of {of} weights ({share})"),
    "by_hand": N_("{n} by hand"),
    "by_hand_unknown": N_("{n} by hand, not counted here"),
    "rescued": N_("the last group is kept"),
    "rescued_each": N_("one group per scope is kept"),
}


def words() -> dict[str, str]:
    """All texts in the page's language."""
    all_texts = CONTROLS | LEGEND | FACTS | SENTENCES | COUNTS
    return {key: _(text) for key, text in all_texts.items()}
