"""All lessons, in the order of the page Learn."""

from explorer.pages.learn import (
    criteria,
    dropout,
    granularity,
    one_step,
    search,
    seven,
    storage,
    structured,
    subnets,
    why,
)
from explorer.pages.learn.lesson import Lesson
from explorer.texts.formats import percent
from explorer.texts.lessons import Words


def _percent(position: float, _words: Words) -> str:
    return percent(position)


def _number(position: int, _words: Words) -> str:
    return str(position)


LESSONS = {
    "why": Lesson(
        "content_cut",
        why.draw,
        why.SPARSITIES,
        0.9,
        _percent,
        "finetune",
        ("sparsity", "fine_tuning", "magnitude"),
    ),
    "granularity": Lesson(
        "view_in_ar",
        granularity.draw,
        granularity.BUDGETS,
        0.5,
        _percent,
        "explore",
        ("granularity", "structured", "unstructured"),
        wide=True,
    ),
    "structured": Lesson(
        "balance",
        structured.draw,
        structured.SPARSITIES,
        0.2,
        _percent,
        "explore",
        ("structured", "unstructured"),
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
    "criteria": Lesson(
        "format_list_numbered",
        criteria.draw,
        range(criteria.FILTERS),
        criteria.START,
        _number,
        "explore",
        ("criterion", "magnitude", "taylor"),
    ),
    "dropout": Lesson(
        "casino",
        dropout.draw,
        dropout.RATES,
        0.5,
        _percent,
        "explore",
        ("dropout", "dropconnect", "mask"),
        wide=True,
    ),
    "seven": Lesson(
        "graphic_eq",
        seven.draw,
        seven.RATIOS,
        0.7,
        _percent,
        "flows",
        ("seven", "taylor", "criterion"),
    ),
    "subnets": Lesson(
        "monitor_heart",
        subnets.draw,
        range(1, subnets.COUNT + 1),
        4,
        _number,
        "explore",
        ("subnet", "recalibration"),
    ),
    "search": Lesson(
        "route",
        search.draw,
        range(1, search.EVALUATIONS + 1),
        search.EVALUATIONS,
        _number,
        "search",
        ("search", "sensitivity"),
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
