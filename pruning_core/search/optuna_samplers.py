"""TPE and NSGA-II, by the samplers of Optuna."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar
from warnings import catch_warnings, simplefilter

from pruning_core.search.candidates import Candidate, Candidates, Evaluate, Judged
from pruning_core.search.method import SearchDefaults
from pruning_core.search.space import RatioSpace, least_ratios, of_parts
from pruning_core.search.study import news
from pruning_core.settings import setting
from pruning_core.types import PruningError, Ratios

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler

INSTALL = "Optuna is not installed here: run `pip install optuna` first."
SEEDS = 2**32
GENERATIONS = 20
"""The least of NSGA-II, where its generations have at least 4 candidates."""
WITHIN = "within the budget"
"""The name of the constraint, as Optuna keeps it."""


@dataclass(frozen=True, kw_only=True)
class OptunaDefaults(SearchDefaults):
    """A search whose proposals come from one of Optuna's samplers."""

    def _sampler(self, samplers: Any, evaluations: int, seed: int) -> "BaseSampler":
        raise NotImplementedError

    def _traded(self, space: RatioSpace) -> list[str]:
        """The costs that are to be low, while the score is to be high."""
        return []

    def __call__(
        self,
        space: RatioSpace,
        evaluate: Evaluate,
        evaluations: int,
        seed: int,
        starts: Mapping[str, Ratios],
    ) -> Iterator[Candidate]:
        optuna = _optuna()
        sampler = self._sampler(optuna.samplers, evaluations, seed % SEEDS)
        candidates = Candidates(space, evaluate)
        directions = ["maximize", *["minimize"] * len(self._traded(space))]
        study = optuna.create_study(sampler=sampler, directions=directions)
        for name, ratios in islice(starts.items(), evaluations):
            study.enqueue_trial(_parameters(space, ratios), user_attrs={"origin": name})
        while candidates.count < evaluations:
            for ratios, judged in news(evaluate):
                self._add(study, space, ratios, judged)
            yield self._next(study, candidates)

    def _next(self, study: "Study", candidates: Candidates) -> Candidate:
        """Takes ratios from the study, measures them, and gives it their value."""
        space = candidates.space
        trial = study.ask(_ranges(space))
        origin = trial.user_attrs.get("origin", f"trial {trial.number}")
        ratios = of_parts(space.parts, trial.params)
        candidate = candidates.measure(space.fitted(ratios), origin)
        if space.keep is not None:
            trial.set_constraint(WITHIN, candidate.cost - space.keep)
        if candidate.failed:
            study.tell(trial, state=_optuna().trial.TrialState.FAIL)
        else:
            study.tell(trial, self._targets(space, candidate.judged, candidate.costs))
        return candidate

    def _targets(
        self, space: RatioSpace, judged: Judged, costs: Mapping[str, float]
    ) -> list[float]:
        return [judged.score, *(costs[name] for name in self._traded(space))]

    def _add(self, study: "Study", space: RatioSpace, ratios: Ratios, judged: Judged) -> None:
        """Gives the study what another worker measured."""
        study.add_trial(
            _optuna().trial.create_trial(
                params=_parameters(space, ratios),
                distributions=_ranges(space),
                values=self._targets(space, judged, space.costs(ratios)),
            )
        )


@dataclass(frozen=True, kw_only=True)
class Tpe(OptunaDefaults):
    """Draws ratios that are likely among the good measurements and unlikely among the others.

    The tree-structured Parzen estimator, all parts together (multivariate), by Optuna. Every
    proposal is shifted to the budget. The starts come first, then `first` random trials. What other
    workers find is added to the study.
    """

    label: str = "TPE (Optuna)"
    formula: str = "r = argmax l(r) / g(r); l, g: densities of the best quantile and of the rest"
    source: str = "Bergstra et al. 2011; Optuna, Akiba et al. 2019, arXiv:1907.10902"
    first: int = setting(10, 1, 10000, "Random trials before the estimator is used.")

    def _sampler(self, samplers: Any, evaluations: int, seed: int) -> "BaseSampler":
        sampler: BaseSampler = samplers.TPESampler(
            seed=seed, multivariate=True, n_startup_trials=self.first
        )
        return sampler


@dataclass(frozen=True, kw_only=True)
class Nsga2(OptunaDefaults):
    """Looks for the best trade-offs of the score and all costs at once, by sorting into fronts.

    A generation's parents are the candidates of the first fronts, in each front those with the
    fewest neighbours first;
    children are drawn around two parents (simulated binary crossover), and some ratios are moved
    (polynomial mutation). By Optuna. With a budget, every proposal is shifted to it, and the other
    costs are traded off. Without one, all costs are. A search of few evaluations has smaller
    generations, so that there are at least twenty of them.
    """

    label: str = "NSGA-II (Optuna)"
    formula: str = "max score, min every cost; rank by front, then by crowding distance"
    source: str = "Deb et al. 2002; Optuna, Akiba et al. 2019, arXiv:1907.10902"
    several: ClassVar[bool] = True
    population: int = setting(50, 2, 1000, "Candidates of each generation.")
    nearness: float = setting(
        5.0, 0.1, 100.0, "How near children are to their parents: the eta of both distributions."
    )

    def _traded(self, space: RatioSpace) -> list[str]:
        names = space.costs(least_ratios(space.parts))
        return [name for name in names if space.keep is None or name != space.budget]

    def _sampler(self, samplers: Any, evaluations: int, seed: int) -> "BaseSampler":
        with catch_warnings():
            # Optuna calls crossover and mutation experimental; its version is pinned.
            simplefilter("ignore", _optuna().exceptions.ExperimentalWarning)
            sampler: BaseSampler = samplers.NSGAIISampler(
                seed=seed,
                population_size=min(self.population, max(4, evaluations // GENERATIONS)),
                crossover=samplers.nsgaii.SBXCrossover(self.nearness),
                mutation=samplers.nsgaii.PolynomialMutation(self.nearness),
            )
        return sampler


def _optuna() -> Any:
    """The package, without its messages. Raises PruningError where it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise PruningError(INSTALL) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _ranges(space: RatioSpace) -> dict[str, Any]:
    """The range of every part's ratio."""
    ranges = _optuna().distributions.FloatDistribution
    return {part.name: ranges(part.least, part.most) for part in space.parts}


def _parameters(space: RatioSpace, ratios: Ratios) -> dict[str, float]:
    return {part.name: part.clipped(ratios[part.name]) for part in space.parts}
