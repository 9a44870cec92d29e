"""The table of layers takes a choice only of a layer that it has."""

from explorer.components.layer_table import chosen_name

NAMES = ("conv1.weight", "fc1.weight")


def test_a_layer_that_the_table_has_is_chosen() -> None:
    assert chosen_name({"chosen": "fc1.weight"}, NAMES) == "fc1.weight"


def test_a_forged_or_outdated_report_chooses_nothing() -> None:
    forged: tuple[object, ...] = (
        None,
        {},
        "fc1.weight",
        {"chosen": None},
        {"chosen": 1},
        {"chosen": "fc9.weight"},
    )
    assert [chosen_name(report, NAMES) for report in forged] == [None] * len(forged)
