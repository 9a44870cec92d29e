"""A choice that the browser reports counts only for a layer that is there."""

from explorer.components.choice import chosen_name

NAMES = ("conv1.weight", "fc1.weight")


def test_a_layer_that_the_table_has_is_chosen() -> None:
    assert chosen_name({"selected": "fc1.weight"}, NAMES) == "fc1.weight"


def test_a_forged_or_outdated_report_chooses_nothing() -> None:
    forged: tuple[object, ...] = (
        None,
        {},
        "fc1.weight",
        {"selected": None},
        {"selected": 1},
        {"selected": "fc9.weight"},
    )
    assert [chosen_name(report, NAMES) for report in forged] == [None] * len(forged)
