"""The choices of a study, as text for the address, and the study that they make."""

from dataclasses import dataclass, fields, replace
from typing import Any

from explorer.session.url import pairs, unpaired
from explorer.texts.formats import count
from explorer.texts.translate import N_, _, from_core, n_
from pruning_core.criteria import CRITERIA
from pruning_core.granularity import GRANULARITIES, granularity
from pruning_core.pipeline import uses_whole_test
from pruning_core.plan import Plan
from pruning_core.registry import find
from pruning_core.studies import BASELINES, COMPRESSIONS, Study
from pruning_core.types import PruningError
from pruning_core.workspaces import Workspace

OFFERED_COMPRESSIONS = (1.5, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
OFFERED_CRITERIA = tuple(name for name in CRITERIA if name not in BASELINES)
OFFERED_GRANULARITIES = tuple(GRANULARITIES)
OFFERED_IMAGES = (500, 1000, 2000, 5000, 10_000, 20_000, 50_000)


@dataclass(frozen=True)
class Choices:
    """What the page asks besides the plan.

    criteria: without the baselines; images: training images of a run, 0 = all; time: measure it.
    """

    criteria: tuple[str, ...] = ("taylor", "wanda")
    granularities: tuple[str, ...] = ("fine",)
    compressions: tuple[float, ...] = COMPRESSIONS
    seeds: int = 3
    images: int = 0
    time: bool = False

    def to_text(self) -> str:
        """The text for the address, without fields that have their default."""
        default = Choices()
        changed = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value != getattr(default, field.name):
                changed[field.name] = _value_text(value)
        return pairs(changed)


def _value_text(value: tuple[str | float, ...] | int) -> str:
    if isinstance(value, int):
        return str(int(value))
    return ",".join(part if isinstance(part, str) else f"{part:g}" for part in value)


def choices(text: str) -> Choices:
    """The inverse of `Choices.to_text`. Raises PruningError for an invalid text."""
    values = {key: _value(key, value) for key, value in unpaired(text).items()}
    chosen = Choices(**values)
    for name in chosen.criteria:
        find(CRITERIA, name, "criterion")
    for name in chosen.granularities:
        granularity(name)
    return chosen


def _value(key: str, text: str) -> Any:
    """The value of a field from its text, in the type of the field's default."""
    names = {field.name: field for field in fields(Choices)}
    default = getattr(Choices(), find(names, key, N_("setting of a study called")).name)
    parts = [part for part in text.split(",") if part]
    try:
        if isinstance(default, tuple):
            return tuple(type(default[0])(part) for part in parts)
        return type(default)(int(text))
    except ValueError as error:
        raise PruningError(
            _("The {key} of the study in the address cannot be '{text}'.", key=key, text=text[:40])
        ) from error


def study_of(plan: Plan, chosen: Choices, space: Workspace) -> Study:
    """The study that the choices make with the plan's training, network and images.

    Ratios and groups set by hand are left out. Raises PruningError for an impossible study.
    """
    probe = Plan().probe if uses_whole_test(space.dataset) else plan.probe
    shared = replace(plan, overrides=(), edits=(), probe=probe)
    images = chosen.images if chosen.images < len(space.dataset.train) else 0
    return Study(
        shared,
        chosen.criteria,
        chosen.granularities,
        chosen.compressions,
        chosen.seeds,
        images,
        chosen.time,
    )


def choices_of(study: Study) -> Choices:
    """The choices that make this study."""
    criteria = tuple(name for name in study.criteria if name not in BASELINES)
    return Choices(
        criteria, study.granularities, study.compressions, study.seeds, study.images, study.time
    )


def study_words(study: Study) -> str:
    """4 criteria × 5 compressions × 3 seeds."""
    parts = [_("{count} criteria", count=len(study.criteria))]
    if len(study.granularities) > 1:
        parts.append(_("{count} granularities", count=len(study.granularities)))
    parts.append(n_("{n} compression", "{n} compressions", len(study.compressions)))
    parts.append(n_("{n} seed", "{n} seeds", study.seeds))
    return " × ".join(parts)


def method_name(criterion: str, granularity_name: str, granularities: int) -> str:
    """The name of a method: its criterion and, where there are several, its granularity."""
    label = from_core(CRITERIA[criterion].label)
    if granularities == 1:
        return label
    groups = from_core(granularity(granularity_name).label)
    return _("{criterion}, {granularity}", criterion=label, granularity=groups)


def image_options(images: int) -> tuple[int, ...]:
    """Numbers of training images to choose from, below all `images`; 0 = all."""
    return (0, *(number for number in OFFERED_IMAGES if number < images))


def images_words(images: int) -> str:
    """10000 -> 10 k; 0 -> all."""
    return count(images) if images else _("all")
