"""The choice of the rule that makes ratios, with what was measured of it."""

from collections.abc import Mapping, Sequence

import streamlit as st

from explorer.pages.sensitivity.together import at_chance, start_words
from explorer.session import state
from explorer.session.address_choice import address_choice, choose
from explorer.texts.formats import value_text
from explorer.texts.task_words import for_task
from explorer.texts.translate import N_, _, from_core
from pruning_core.sensitivity.corrected import CORRECTED, Joint, start_label
from pruning_core.sensitivity.rules import SENSITIVITY_RULES, TARGET_UNITS
from pruning_core.tasks import Task
from pruning_core.tasks.classification import CLASSIFICATION
from pruning_core.types import Dataset

DEFAULT_RULE = "least_loss"
"""The best of these rules by measurement (docs/results.md)."""
UNITS = {"weights": N_("Weights"), "macs": N_("Multiply-adds")}
SMOOTHED = N_(
    "Small dips of a curve are smoothed out first. Layers whose curves differ by less than these "
    "images can show get nearly the same ratio."
)
CORRECTED_WORDS = N_(
    "The best ratios of the measurement below, for a target of weights; limits have no effect."
)


def choose_rule(joints: Sequence[Joint], dataset: Dataset) -> tuple[str, str]:
    """The rule that makes ratios, and the unit of the target.

    joints: what was measured together; then the corrected ratios are a choice, chosen at first.
    """
    options = (CORRECTED, *SENSITIVITY_RULES) if joints else tuple(SENSITIVITY_RULES)
    names = {option: _rule_name(option, dataset.task) for option in options}
    _preselect(joints, names)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        rule = st.selectbox(
            _("Rule"),
            options,
            format_func=lambda name: _rule_label(name, dataset.task),
            width=250,
            help=_rules_help(),
            **address_choice("ratios_how", names, DEFAULT_RULE),
        )
        unit = st.selectbox(
            _("Target counts"),
            tuple(TARGET_UNITS),
            format_func=lambda key: _(UNITS[key]),
            width=190,
            help=_("What the target is a fraction of, over the scanned layers."),
            disabled=rule == CORRECTED,
            **address_choice("ratios_of", UNITS, next(iter(TARGET_UNITS))),
        )
    st.caption(
        for_task(_words(rule), dataset.task) + _measured_words(rule, joints, len(dataset.classes))
    )
    return rule, unit


def _rules_help() -> str:
    """What each rule does."""
    texts = ((map(from_core, (x.label, x.help, x.source)), x) for x in SENSITIVITY_RULES.values())
    return "\n\n".join(
        f"**{label}**: {text} `{rule.formula}` ({source})" for (label, text, source), rule in texts
    )


def _words(rule: str) -> str:
    """What the chosen rule does."""
    if rule == CORRECTED:
        return _(CORRECTED_WORDS)
    return _("{rule} {more}", rule=from_core(SENSITIVITY_RULES[rule].help), more=_(SMOOTHED))


def _rule_label(name: str, task: Task) -> str:
    """The rule's label, by the task's value: Equal accuracy, Equal perplexity."""
    label = start_words(name)
    named = task.value_label == CLASSIFICATION.value_label
    return label if named else label.replace(_("accuracy"), from_core(task.short_label))


def _rule_name(name: str, task: Task) -> str:
    """The rule's name in the address: its label in English."""
    label = start_label(name)
    named = task.value_label == CLASSIFICATION.value_label
    return label if named else label.replace("accuracy", task.short_label)


def _preselect(joints: Sequence[Joint], names: Mapping[str, str]) -> None:
    """Chooses the corrected ratios when they are new."""
    if joints and state.stored("corrected offered", None) != joints[-1].ratios:
        state.store("corrected offered", joints[-1].ratios)
        choose("ratios_how", CORRECTED, names, DEFAULT_RULE)


def _measured_words(rule: str, joints: Sequence[Joint], classes: int) -> str:
    """What the whole plan reaches with the rule's ratios, where that was measured together."""
    own = [joint for joint in joints if joint.name == rule]
    joint = joints[-1] if rule == CORRECTED else own[-1] if own else None
    if joint is None:
        return ""
    score = joint.evaluation
    value = value_text(score.value, score.task)
    samples = from_core(score.task.samples)
    if not at_chance(joint, classes):
        words = N_(" Measured together on {n:,} probe {samples}: **{value}**.")
    else:
        words = N_(
            " Measured together on {n:,} probe {samples}: **{value}**, which an answer by chance "
            "reaches too."
        )
    return _(words, n=score.n, samples=samples, value=value)
