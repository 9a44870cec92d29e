"""A small agent for continuous actions in [0, 1]: deep deterministic policy gradient (DDPG)."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pruning_core.random_numbers import seed_torch
from pruning_core.training.optimizers import Adam

State = tuple[float, ...]
GAMMA = 1.0
TAU = 0.1
"""How fast the slow copies follow. He et al. have 0.01, for 800 episodes; so for both rates."""
ACTOR_RATE = 1e-3
CRITIC_RATE = 1e-2


@dataclass(frozen=True)
class Transition:
    """One action of an episode. after: the next state; None after the last action."""

    state: State
    action: float
    reward: float
    after: State | None


class Agent:
    """An actor that gives an action for a state, and a critic that gives its value.

    Both have two hidden layers. The critic learns from transitions drawn at random; the actor
    follows the critic; copies of both that change slowly give the critic's targets. Rewards count
    in standard deviations from their mean (Lillicrap et al. 2016, arXiv:1509.02971).
    The same seed gives the same agent. Torch's random state is not changed.
    """

    def __init__(self, states: int, hidden: int, batch: int, memory: int, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            seed_torch(seed)
            self.actor = nn.Sequential(_network(states, hidden), nn.Sigmoid())
            self.critic = _network(states + 1, hidden)
        self._slow_actor = deepcopy(self.actor)
        self._slow_critic = deepcopy(self.critic)
        self._actor_step = Adam(self.actor.parameters(), ACTOR_RATE, fused=True)
        self._critic_step = Adam(self.critic.parameters(), CRITIC_RATE, fused=True)
        self._draw = np.random.default_rng(seed)
        self._batch = batch
        self._memory = memory
        self._transitions: list[Transition] = []
        self._mean = 0.0
        self._spread = 1.0

    def action(self, state: State) -> float:
        """The actor's action."""
        with torch.no_grad():
            return float(self.actor(_tensor([state])))

    def noisy(self, state: State, sigma: float) -> float:
        """The actor's action with normal noise, drawn again until it is in [0, 1]."""
        mean = self.action(state)
        if sigma < 1e-6:
            return mean
        while not 0 <= (drawn := float(self._draw.normal(mean, sigma))) <= 1:
            pass
        return drawn

    def random(self) -> float:
        """An action drawn evenly."""
        return float(self._draw.uniform())

    def keep(self, episode: Sequence[Transition]) -> None:
        """Keeps an episode; the oldest transitions are dropped."""
        self._transitions = [*self._transitions, *episode][-self._memory :]
        rewards = np.array([t.reward for t in self._transitions])
        self._mean = float(rewards.mean())
        self._spread = float(rewards.std()) or 1.0

    def learn(self, steps: int) -> None:
        """Takes `steps` training steps of both networks, on transitions drawn at random."""
        for _ in range(steps):
            drawn = self._draw.integers(len(self._transitions), size=self._batch)
            self._learn_from([self._transitions[k] for k in drawn])

    def _learn_from(self, batch: Sequence[Transition]) -> None:
        states = _tensor([t.state for t in batch])
        actions = _tensor([(t.action,) for t in batch])
        loss = nn.functional.mse_loss(self._value(states, actions), self._targets(batch))
        _step(self._critic_step, loss)
        _step(self._actor_step, -self._value(states, self.actor(states)).mean())
        for slow, fast in (
            (self._slow_actor, self.actor),
            (self._slow_critic, self.critic),
        ):
            for old, new in zip(slow.parameters(), fast.parameters(), strict=True):
                old.data.lerp_(new.data, TAU)

    @torch.no_grad()
    def _targets(self, batch: Sequence[Transition]) -> Tensor:
        """Rewards in standard deviations from their mean, and the value of what comes after."""
        scaled = [((t.reward - self._mean) / self._spread,) for t in batch]
        later = _tensor([t.after or t.state for t in batch])
        goes_on = _tensor([(float(t.after is not None),) for t in batch])
        value = self._slow_critic(torch.cat([later, self._slow_actor(later)], dim=1))
        targets: Tensor = _tensor(scaled) + GAMMA * goes_on * value
        return targets

    def _value(self, states: Tensor, actions: Tensor) -> Tensor:
        value: Tensor = self.critic(torch.cat([states, actions], dim=1))
        return value


def _network(inputs: int, hidden: int) -> nn.Sequential:
    last = nn.Linear(hidden, 1)
    nn.init.uniform_(last.weight, -3e-3, 3e-3)
    nn.init.uniform_(last.bias, -3e-3, 3e-3)
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), last
    )


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _tensor(rows: Sequence[Sequence[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32)
