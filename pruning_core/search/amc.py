"""AMC: an agent sets one part's ratio after the other and is rewarded for the whole network."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np

from pruning_core.search.candidates import Candidate, Candidates, Evaluate, Judged
from pruning_core.search.ddpg import Agent, State, Transition
from pruning_core.search.method import SearchDefaults
from pruning_core.search.proposals import least_ratio, need_budget
from pruning_core.search.space import Part, RatioSpace, least_ratios, of_parts
from pruning_core.settings import setting
from pruning_core.types import Ratios

FACTS = ("kind", "outputs", "inputs", "stride", "kernel", "weights")
LARGEST_SEED = 2**31


@dataclass(frozen=True, kw_only=True)
class Amc(SearchDefaults):
    """An agent sets the ratio of each part in turn, and learns from the pruned network's score.

    State of part l: which part it is (one number per part, 1 for this one), its kind, outputs,
    inputs, stride, kernel and weights, each scaled to [0, 1] over the parts, the cost removed up to
    now, the cost of the parts that follow, and the action before. The action is the fraction of the
    ratio's range that is kept; it is lowered where the budget could no longer be met if all parts
    that follow lost the most. Then all ratios are shifted to the budget. Every action of an episode
    has the episode's reward R_err = -error, with error = 1 - score.
    First come episodes with the ratios of the starts, then random ones, then the agent's with
    truncated normal noise. The paper has 100 random episodes of 800, one number for the place, two
    layers of 300 units, slower rates of learning, and no shift; these learn too little in 200
    episodes.
    """

    label: str = "AMC (reinforcement learning)"
    formula: str = "a_l = actor(s_l) + noise, within the budget; R_err = -(1 - score)"
    source: str = "He et al. 2018 (AMC), arXiv:1802.03494"
    warmup: float = setting(0.25, 0.01, 0.9, "The part of all episodes that is random.")
    noise: float = setting(0.5, 0.0, 2.0, "Standard deviation of the first noise on an action.")
    decay: float = setting(0.95, 0.5, 1.0, "The noise shrinks by this factor in every episode.")
    hidden: int = setting(64, 4, 2000, "Units of each hidden layer of the agent's networks.")
    batch: int = setting(64, 1, 1024, "Transitions per step of learning.")
    memory: int = setting(100, 1, 10000, "The last episodes are kept for learning.")

    def __call__(
        self,
        space: RatioSpace,
        evaluate: Evaluate,
        evaluations: int,
        seed: int,
        starts: Mapping[str, Ratios],
    ) -> Iterator[Candidate]:
        self._check(space)
        episode = _Episode(space)
        agent = self._agent(space, seed)
        candidates = Candidates(space, evaluate)
        given = list(islice(starts.items(), evaluations))
        warm = len(given) + max(1, round(self.warmup * evaluations))
        for number in range(evaluations):
            if number < len(given):
                origin, ratios = given[number]
            elif number < warm:
                origin = "random episode"
                ratios = episode.ratios(lambda _: agent.random())
            else:
                agent.learn(len(space.parts))
                sigma = self.noise * self.decay ** (number - warm)
                origin = f"episode {number - warm + 1} of the agent"
                ratios = episode.ratios(partial(agent.noisy, sigma=sigma))
            candidate = candidates.measure(ratios, origin)
            reward = self._reward(space, candidate)
            if math.isfinite(reward):
                agent.keep(episode.transitions(candidate.ratios, reward))
            yield replace(candidate, extra={"reward": reward})

    def _check(self, space: RatioSpace) -> None:
        need_budget(space, self)

    def _agent(self, space: RatioSpace, seed: int) -> Agent:
        states = len(space.parts) + len(FACTS) + 3
        memory = self.memory * len(space.parts)
        return Agent(states, self.hidden, self.batch, memory, seed % LARGEST_SEED)

    def _reward(self, space: RatioSpace, candidate: Candidate) -> float:
        """R_err. A failed candidate has the reward minus infinity, and nothing is learned of it."""
        return candidate.judged.score - 1


@dataclass(frozen=True, kw_only=True)
class AmcTradeOff(Amc):
    """AMC without a budget: the agent is rewarded for a small error and for a small network.

    R = -error log(N cost), with N = 1 + the weights of all parts, so that a network of half the
    cost makes up for an error that is a little larger. cost: the share that remains of what the
    budget would limit: of multiply-adds this is R_FLOPs up to the scale N, of parameters R_Param.
    The paper has no clipping of actions with this reward; here a budget still clips them.
    """

    label: str = "AMC, error and cost"
    formula: str = "a_l = actor(s_l) + noise; R = -(1 - score) log(N cost)"

    def _check(self, space: RatioSpace) -> None:
        """A budget is not needed."""

    def _reward(self, space: RatioSpace, candidate: Candidate) -> float:
        weights = sum(part.weights for part in space.features())
        return -error_of(candidate.judged) * math.log(1 + weights * candidate.cost)


def error_of(judged: Judged) -> float:
    """1 - score of a score of at least 0, such as an accuracy; minus a negative score."""
    return 1 - judged.score if judged.score >= 0 else -judged.score


class _Episode:
    """The states of an episode, and its ratios within the budget."""

    def __init__(self, space: RatioSpace) -> None:
        self.space = space
        self._facts = _scaled_facts(space)
        costs = [features.cost for features in space.features()]
        self._rest = [sum(costs[k + 1 :], 0.0) for k in range(len(costs))]
        self._least = least_ratios(space.parts)
        self._most = of_parts(space.parts, {part.name: part.most for part in space.parts})
        space.fitted(self._most)

    def ratios(self, act: Callable[[State], float]) -> Ratios:
        """The ratios of an episode whose actions are the function's, shifted to the budget."""
        decided: Ratios = {}
        before = 1.0
        for number, part in enumerate(self.space.parts):
            action = act(self._state(number, decided, before))
            ratio = part.most - action * (part.most - part.least)
            decided |= part.ratios(self._raised(part, ratio, decided))
            before = _action(part, decided)
        return self.space.fitted(decided)

    def _raised(self, part: Part, ratio: float, decided: Ratios) -> float:
        """The ratio, raised where the budget could not be met by the parts that follow."""
        keep = self.space.keep
        whole = self._most | decided | part.ratios(ratio)
        if keep is None or self.space.cost(whole) <= keep:
            return ratio
        raised = least_ratio(self.space, whole, part, keep)
        return part.most if raised is None else raised

    def transitions(self, ratios: Ratios, reward: float) -> list[Transition]:
        """The episode that leads to these ratios. Every action has the episode's reward."""
        states: list[State] = []
        actions: list[float] = []
        decided: Ratios = {}
        for number, part in enumerate(self.space.parts):
            states.append(self._state(number, decided, actions[-1] if actions else 1.0))
            decided |= part.ratios(ratios[part.name])
            actions.append(_action(part, decided))
        later = [*states[1:], None]
        pairs = zip(states, actions, later, strict=True)
        return [Transition(state, action, reward, after) for state, action, after in pairs]

    def _state(self, number: int, decided: Ratios, before: float) -> State:
        place = [float(number == k) for k in range(len(self._rest))]
        removed = 1 - self.space.cost(self._least | decided)
        return (*place, *self._facts[number], removed, self._rest[number], before)


def _action(part: Part, ratios: Ratios) -> float:
    """The fraction of the part's range that is kept."""
    width = part.most - part.least
    return (part.most - ratios[part.name]) / width if width else 1.0


def _scaled_facts(space: RatioSpace) -> list[State]:
    """Facts of each part, scaled over the parts to [0, 1]."""
    features = space.features()
    kinds = sorted({facts.kind for facts in features})
    rows = [
        [kinds.index(facts.kind), *(getattr(facts, name) for name in FACTS[1:])]
        for facts in features
    ]
    table = np.array(rows, dtype=float)
    width = np.ptp(table, axis=0)
    scaled = (table - table.min(axis=0)) / np.where(width > 0, width, 1.0)
    return [tuple(row) for row in scaled.tolist()]
