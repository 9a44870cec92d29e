"""The choices of the page Search, as text for the address."""

from dataclasses import fields, replace
from typing import Any

from explorer.session.url import pairs, unpaired
from explorer.texts.translate import _
from pruning_core.registry import find
from pruning_core.search.plan_space import BUDGETS
from pruning_core.search.run import SearchSettings
from pruning_core.types import PruningError

USUAL = SearchSettings("eagleeye", evaluations=100)
"""What the page shows first."""
NAMES = tuple(field.name for field in fields(SearchSettings) if field.name != "repair")
"""The choices of the page; the repair is the plan's."""
NO_BUDGET = "none"


def text_of_choices(chosen: SearchSettings) -> str:
    """The text for the address, without choices that are the usual ones."""
    changed = {name: getattr(chosen, name) for name in NAMES}
    return pairs(
        {
            name: NO_BUDGET if value is None else value
            for name, value in changed.items()
            if value != getattr(USUAL, name)
        }
    )


def choices(text: str) -> SearchSettings:
    """The inverse of `text_of_choices`. Raises PruningError for an invalid text."""
    chosen = replace(USUAL, **{name: _value(name, own) for name, own in unpaired(text).items()})
    find(BUDGETS, chosen.budget, "budget")
    return chosen


def _value(name: str, text: str) -> Any:
    find(dict.fromkeys(NAMES), name, "setting of a search called")
    if name == "keep" and text == NO_BUDGET:
        return None
    try:
        return type(getattr(USUAL, name))(text)
    except ValueError as error:
        raise PruningError(
            _(
                "The {name} of the search in the address cannot be '{text}'.",
                name=name,
                text=text[:40],
            )
        ) from error
