"""Ratios that a machine chooses: spaces, budgets, and methods that propose and measure ratios."""

from pruning_core.search.amc import Amc, AmcTradeOff
from pruning_core.search.annealing import Annealing
from pruning_core.search.candidates import Candidate, Candidates, Evaluate, Judged
from pruning_core.search.evolution import Evolution
from pruning_core.search.method import SearchDefaults, SearchMethod
from pruning_core.search.netadapt import NetAdapt
from pruning_core.search.optuna_samplers import Nsga2, Tpe
from pruning_core.search.sampling import (
    EagleEye,
    EagleEyeDivergence,
    EagleEyeImportance,
    EagleEyeSensitivity,
    RandomRatios,
)
from pruning_core.search.sensitivity_map import SensitivityMap
from pruning_core.search.space import (
    TOLERANCE,
    Part,
    PartFeatures,
    RatioSpace,
    of_parts,
    within,
)
from pruning_core.settings import with_settings

__all__ = [
    "SEARCHES",
    "TOLERANCE",
    "Candidate",
    "Candidates",
    "Evaluate",
    "Judged",
    "Part",
    "PartFeatures",
    "RatioSpace",
    "SearchDefaults",
    "SearchMethod",
    "of_parts",
    "search_method",
    "within",
]

SEARCHES: dict[str, SearchMethod] = {
    "random": RandomRatios(),
    "evolution": Evolution(),
    "annealing": Annealing(),
    "netadapt": NetAdapt(),
    "sensitivity_map": SensitivityMap(),
    "tpe": Tpe(),
    "nsga2": Nsga2(),
    "amc": Amc(),
    "amc_trade_off": AmcTradeOff(),
    "eagleeye": EagleEye(),
    "eagleeye_importance": EagleEyeImportance(),
    "eagleeye_sensitivity": EagleEyeSensitivity(),
    "eagleeye_kl": EagleEyeDivergence(),
}
"""The choices; `search_method` also reads settings, as in eagleeye:draws=50."""


def search_method(text: str) -> SearchMethod:
    """The search method of that name, or name:setting=value,setting=value.

    Raises PruningError for an unknown name and a value outside its range.
    """
    return with_settings(SEARCHES, text, "search method")
