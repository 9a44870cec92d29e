"""The texts of the network map. The browser gets them in the page's language."""

from explorer.texts.translate import N_, _

WORDS = {
    "input": N_("input"),
    "not_pruned": N_("not pruned"),
    "close": N_("Fold the repeated blocks again (Escape)"),
    "fold": N_("{label} · {count} equal blocks, {layers} layers, {weights} weights in total"),
    "unprunable": N_("not prunable with these choices"),
    "kept": N_("kept {share}"),
    "narrowed": N_("{widths} outputs in the thinned network"),
    "alone": N_("pruned alone at {cut}: {lost}"),
    "fold_alone": N_("its most sensitive layer pruned alone at {cut}: {lost}"),
    "opens": N_("Enter opens it"),
    "points": N_("{n} points"),
    "flow": N_("Network map: {count} layers in data-flow order. Arrow keys choose a layer."),
    "calls": N_("Network map: {count} layers in call order. Arrow keys choose a layer."),
    "hurts": N_("{value} lost when pruned alone at {cut}; full height {lost}"),
    "level": N_("blue: kept, hatched: removed"),
    "width": N_("width: weights, square-root scale"),
    "stack": N_("repeated blocks: click to open"),
}


def words() -> dict[str, str]:
    """All texts in the page's language. The browser fills their places."""
    return {key: _(text) for key, text in WORDS.items()}
