"""The Pareto front of values and costs."""

from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")


def non_dominated(
    items: Iterable[Item], cost: Callable[[Item], float], score: Callable[[Item], float]
) -> list[Item]:
    """The items that no other one beats in both score and cost, by rising cost.

    score: higher is better. cost: lower is better. Of equal items, the first one.

    >>> points = [(0.5, 0.6), (0.5, 0.5), (0.6, 0.7), (0.3, 0.4), (0.8, 0.7)]
    >>> non_dominated(points, lambda point: point[0], lambda point: point[1])
    [(0.3, 0.4), (0.5, 0.6), (0.6, 0.7)]
    """
    front: list[Item] = []
    for item in sorted(items, key=lambda item: (cost(item), -score(item))):
        if not front or score(item) > score(front[-1]):
            front.append(item)
    return front
