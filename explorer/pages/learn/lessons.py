"""All lessons, in the order of the page Learn."""

from explorer.pages.learn import granularity, one_step, storage
from explorer.pages.learn.lesson import Lesson
from explorer.texts.formats import percent

LESSONS = {
    "granularity": Lesson(
        "view_in_ar",
        granularity.draw,
        granularity.BUDGETS,
        0.5,
        lambda budget, _words: percent(budget),
        "explore",
        ("granularity", "sparsity", "structured"),
        wide=True,
    ),
    "step": Lesson(
        "footprint",
        one_step.draw,
        one_step.STAGES,
        "tune",
        lambda stage, words: words(f"stage_{stage}"),
        "finetune",
        ("mask", "magnitude", "fine_tuning"),
    ),
    "storage": Lesson(
        "inventory_2",
        storage.draw,
        range(storage.KEPT + 1),
        storage.KEPT,
        lambda step, _words: f"{step} / {storage.KEPT}",
        "export",
        ("csr", "bitmap", "relative_index"),
    ),
}
"""Every lesson by its name, which is in the address.

A new lesson: one entry here, and its texts.
"""
