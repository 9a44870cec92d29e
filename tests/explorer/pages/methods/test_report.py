"""Methods whose accuracies are equal in every run, and the axes that results have."""

from dataclasses import replace

from explorer.pages.methods.report import AFTER, axes, equal_methods, verdict
from pruning_core.studies import Measurement, Result, Run


def result(criterion: str, seed: int, top1: float) -> Result:
    accuracy = Measurement(100, top1, top1 - 0.1, top1 + 0.1, None)
    run = Run(criterion, "fine", 2.0, seed)
    return Result(run, accuracy, accuracy, accuracy, 1, 10, 100, 50, 1000, 500, None, None, 2.0)


def test_methods_with_equal_accuracies_are_named() -> None:
    accuracies = {
        "taylor": (0.8, 0.7),
        "snip": (0.8, 0.7),
        "wanda": (0.8, 0.6),
        "random": (0.1, 0.1),
        "grasp": (0.1, 0.1),
    }
    results = [
        result(criterion, seed, top1)
        for criterion, by_seed in accuracies.items()
        for seed, top1 in enumerate(by_seed)
    ]
    assert equal_methods(results) == (("Taylor |w g|", "SNIP"),), (
        "methods at chance level in all runs are left out"
    )


def test_the_verdict_names_the_methods_that_are_worse() -> None:
    means = {"taylor": 0.9, "wanda": 0.895, "snip": 0.5, "random": 0.1}
    results = [
        result(criterion, seed, mean + 0.001 * seed * (criterion == "wanda") * (-1) ** seed * 9)
        for criterion, mean in means.items()
        for seed in range(4)
    ]
    assert verdict(results, AFTER).startswith(
        "**Taylor |w g| is better than SNIP and Random beyond chance**, but not better than "
        "Wanda |w| ‖x‖: "
    )


def test_the_axis_of_stored_bytes_is_offered_where_all_runs_have_them() -> None:
    old = result("random", 0, 0.5)
    new = replace(old, dense_bytes=100, stored_bytes=40)
    assert axes([new, new]) == ("Compression", "Speed-up", "Storage")
    assert axes([replace(new, measured_speedup=1.5)])[-1] == "Measured time"
    assert axes([new, old]) == ("Compression", "Speed-up")
