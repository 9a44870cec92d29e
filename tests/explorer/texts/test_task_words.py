"""What a task's intervals are called."""

from explorer.texts.task_words import interval_help, paired_words, ranges_words
from pruning_core.tasks import TASKS, find_task


def test_no_bootstrap_is_named_where_intervals_may_be_exact() -> None:
    """Those of a function are exact where every sample has the value 0 or 1."""
    own = find_task("tests.core.tasks.own_task:within_one")
    named = {}
    for task in (TASKS["classification"], TASKS["regression"], own):
        texts = (ranges_words(task), interval_help(task), paired_words(task))
        named[task.label] = ["bootstrap" in text for text in texts]
        assert all("95%" in text for text in texts)
    assert named == {
        "Classification": [False] * 3,
        "Regression": [True] * 3,
        "within one": [False] * 3,
    }
