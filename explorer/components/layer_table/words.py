"""The texts of the table of layers. The browser gets them in the page's language."""

from explorer.texts.translate import N_, _

WORDS = {
    "csv": N_("Download as CSV"),
    "not_pruned": N_("not pruned"),
}


def words() -> dict[str, str]:
    """All texts in the page's language."""
    return {key: _(text) for key, text in WORDS.items()}
