"""Ranks of groups without a sort of all groups: exact ranks of a few, levels 0..255 of many.

Sorting short runs of float32 is several times as fast as counting keys, needs little memory, and
runs on two processors.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from math import gcd
from typing import TypeVar

import numpy as np
import torch

from pruning_core.masks import as_array, ranks

RUN = 1 << 20
"""Groups that are sorted at once."""
EDGES = 1 << 16
COUNTED = 1 << 24
FEW = 16
WORKERS = min(2, os.cpu_count() or 1)
Item = TypeVar("Item")
Value = TypeVar("Value")


def parallel_map(call: Callable[[Item], Value], items: Iterable[Item]) -> Iterator[Value]:
    """`map` on WORKERS threads: numpy sorts, copies and compares without the interpreter lock."""
    with ThreadPoolExecutor(WORKERS) as pool:
        yield from pool.map(call, items)


def places(scores: torch.Tensor, groups: np.ndarray) -> np.ndarray:
    """`masks.ranks(scores).flatten()[groups]`, without ranking the others.

    scores: scope x group; groups: flat numbers.
    """
    scope, group = np.divmod(groups, scores.shape[1])
    touched, at = np.unique(scope, return_inverse=True)
    large = scores.shape[1] > RUN and scores.dtype == torch.float32
    step = 1 if large else max(1, RUN // scores.shape[1])

    def some(start: int) -> tuple[np.ndarray, np.ndarray]:
        mine = np.flatnonzero((at >= start) & (at < start + step))
        if large:
            return mine, _among_runs(as_array(scores)[touched[start]], group[mine])
        part = ranks(scores[torch.from_numpy(touched[start : start + step])]).numpy()
        return mine, part[at[mine] - start, group[mine]]

    result = np.empty(len(groups), np.int64)
    starts = range(0, len(touched), step)
    for mine, ranked in map(some, starts) if large else parallel_map(some, starts):
        result[mine] = ranked
    return result


def _among_runs(scores: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The rank of each of these groups among all scores, computed run by run.

    Of equal scores, the earlier group has the lower rank.
    """
    by_score = np.argsort(scores[groups])
    at = groups[by_score]
    asked = scores[at]

    def below(start: int) -> np.ndarray:
        run = scores[start : start + RUN]
        here = (at >= start) & (at < start + RUN)
        later = at >= start + RUN
        ordered = np.sort(run)
        smaller = np.empty(len(asked), np.int64)
        smaller[later] = np.searchsorted(ordered, asked[later], "right")
        smaller[~later] = np.searchsorted(ordered, asked[~later])
        if here.any():
            smaller[here] = np.searchsorted(
                np.sort(_keys(run)), _keys(asked[here], at[here] - start)
            )
        return smaller

    result = np.empty(len(groups), np.int64)
    result[by_score] = sum(parallel_map(below, range(0, len(scores), RUN)))
    return result


def _keys(scores: np.ndarray, numbers: np.ndarray | None = None) -> np.ndarray:
    """uint64 keys that sort by float32 score, then by number (0, 1, 2 ... unless given)."""
    bits = (scores + np.float32(0)).view(np.uint32)  # + 0: minus zero is zero
    ordered = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)
    return (ordered << np.uint64(32)) | (
        np.arange(len(scores)) if numbers is None else numbers
    ).astype(np.uint64)


def levels(scores: torch.Tensor) -> np.ndarray:
    """Levels 0..255 of all groups, flat: the share of the scope with a lower rank.

    In large scopes, ties are in any order.
    """
    scopes, groups = scores.shape
    values = as_array(scores)
    result = np.empty((scopes, groups), np.uint8)
    step = max(1, (RUN >> 2) // groups)
    levels_of = (
        _small_scopes if groups <= FEW else _many_groups if scores.numel() > RUN else _exact_levels
    )

    def some(start: int) -> None:
        result[start : start + step] = levels_of(values[start : start + step])

    for _ in parallel_map(some, range(0, scopes, step)):
        pass
    return result.ravel()


def _exact_levels(scores: np.ndarray) -> np.ndarray:
    ranked = ranks(torch.from_numpy(scores)).numpy().astype(np.int64)
    levels: np.ndarray = (ranked * 256 // scores.shape[1]).astype(np.uint8)
    return levels


def _small_scopes(scores: np.ndarray) -> np.ndarray:
    """Levels in small scopes, by comparing every two groups."""
    columns = scores.T.copy()
    groups = scores.shape[1]
    smaller = np.zeros(columns.shape, np.uint8)
    for one in range(groups):
        for other in range(one):
            first = columns[other] <= columns[one]
            smaller[one] += first
            smaller[other] += ~first
    levels: np.ndarray = (np.arange(groups) * 256 // groups).astype(np.uint8)[smaller.T]
    return levels


def _many_groups(scores: np.ndarray) -> np.ndarray:
    levels = np.empty(scores.shape, np.uint8)
    share = (np.arange(scores.shape[1]) * 256 // scores.shape[1]).astype(np.uint8)
    np.put_along_axis(levels, np.argsort(scores, axis=1), share[None], axis=1)
    return levels


def levels_among(scores: np.ndarray, some: np.ndarray) -> np.ndarray:
    """The levels of some of one scope's scores, within about 1 of 256.

    some: n x rows x cols, rows from the scope's start to its end. Counts the scores below EDGES of
    them; in scopes larger than COUNTED among every n-th score, which is exact to 1 in 1000. Of many
    equal scores, those in earlier rows have lower levels.
    """
    edges = np.unique(some)
    edges = edges[:: 1 + len(edges) // EDGES]
    # No common factor with the number of scores, so that every filter and channel is sampled.
    step = (
        next(n for n in count(1 + len(scores) // COUNTED) if gcd(n, len(scores)) == 1)
        if len(scores) > COUNTED
        else 1
    )
    scores = scores[::step]

    def counts(start: int) -> np.ndarray:
        ordered = np.sort(scores[start : start + RUN])
        return np.stack([np.searchsorted(ordered, edges), np.searchsorted(ordered, edges, "right")])

    below, upto = sum(
        parallel_map(counts, range(0, len(scores), RUN)), np.zeros((2, len(edges)), np.int64)
    )
    at = np.searchsorted(edges, some, "right") - 1
    nearer = (np.arange(some.shape[1])[:, None] + 0.5) / some.shape[1]
    equal = below[at] + (upto - below)[at] * nearer
    between = (upto[at] + np.append(below[1:], len(scores))[at]) / 2
    place = np.where(edges[at] == some, equal, between)
    levels: np.ndarray = np.minimum(255, place * 256 / len(scores)).astype(np.uint8)
    return levels
