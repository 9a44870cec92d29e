"""Times of thinned networks, as shares of the dense time: measured once, estimated for others."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from pruning_core.search.record_log import Record, RecordLog
from pruning_core.search.study import key_of
from pruning_core.types import Ratios

Facts = tuple[float, ...]
"""Of ratios: the share of the multiply-adds, then each part's."""
STIFFNESS = 0.1
"""How much single parts are held to the time that their multiply-adds suggest."""


@dataclass(frozen=True)
class TimeShare:
    """Time of the thinned network / dense time. low, high: 95% interval; n: pairs measured.

    doubt: why the measurement may be wrong; "" where nothing is known.
    """

    share: float
    low: float
    high: float
    n: int
    doubt: str = ""


class MeasuredTimes:
    """Measures a network's time once for equal ratios; estimates it for ratios to choose from.

    t = a + b m + sum over parts of d_p m_p, m: multiply-adds that remain; least squares over the
    first networks, with d held near 0. An estimate is raised by its usual error, that of each of
    these networks estimated from the others, so that most networks that are chosen by it meet the
    budget when they are measured. Later measurements change no estimate: a search that continues
    chooses as before.
    measure: of a network with these ratios; facts: of ratios; first: is measured before the first
    estimate; log: keeps what is measured, for later searches.
    """

    def __init__(
        self,
        measure: Callable[[Ratios], TimeShare],
        facts: Callable[[Ratios], Facts],
        first: Callable[[], Sequence[Ratios]],
        log: RecordLog | None,
    ) -> None:
        self._measure = measure
        self._facts = facts
        self._first = first
        self._log = log
        self._lock = threading.RLock()
        self._known: dict[str, TimeShare] = {}
        for record in self._read():
            key = record.pop("key")
            self._known[key] = TimeShare(**record)

    def cost(self, ratios: Ratios) -> float:
        """The measured share; an estimate, raised by its usual error, where none is measured."""
        with self._lock:
            known = self._known.get(key_of(ratios))
            if known is not None:
                return known.share
            weights, error = self._estimates
            return float(np.dot(weights, (1.0, *self._facts(ratios)))) + error

    def measured(self, ratios: Ratios) -> TimeShare:
        """Measures the time where it is not known. One measurement at a time."""
        key = key_of(ratios)
        with self._lock:
            if key not in self._known:
                self._known[key] = self._measure(ratios)
                if self._log is not None:
                    with self._log.locked():
                        self._log.append({"key": key, **asdict(self._known[key])})
            return self._known[key]

    def again(self, ratios: Ratios) -> TimeShare:
        """A second measurement of the same ratios, which is not kept."""
        with self._lock:
            return self._measure(ratios)

    def _read(self) -> list[Record]:
        if self._log is None:
            return []
        with self._log.locked():
            return self._log.read(0)[0]

    @cached_property
    def _estimates(self) -> tuple[np.ndarray, float]:
        """The weights of the facts, and the usual error of an estimate."""
        first = self._first()
        facts = np.array([(1.0, *self._facts(ratios)) for ratios in first])
        shares = np.array([self.measured(ratios).share for ratios in first])
        errors = []
        for one in range(len(first)):
            others = np.arange(len(first)) != one
            errors.append(shares[one] - facts[one] @ _fit(facts[others], shares[others]))
        return _fit(facts, shares), float(np.sqrt(np.mean(np.square(errors))))


def _fit(facts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    held = np.diag([1e-6, 1e-6, *[STIFFNESS] * (facts.shape[1] - 2)])
    solved: np.ndarray = np.linalg.solve(facts.T @ facts + held, facts.T @ shares)
    return solved


def time_words(own: TimeShare) -> str:
    """What a measurement says, in one or two sentences."""
    return (
        f"Measured again, the best one takes {own.share:.1%} [{own.low:.1%}, {own.high:.1%}] of "
        f"the dense time: {own.n} pairs, PyTorch on the CPU."
        + (f" {own.doubt}" if own.doubt else "")
    )
