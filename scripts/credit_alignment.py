"""Whether what moves a policy is what earns reward, decision by decision; a part of `compare_credit`.

Of a decision in state s with the decided slots D, at slot t, and of every legal action a:

* *preference*: the policy's log-probability of a, beside what follows a in the table: the mean reward if the rest is
  drawn uniformly, the best that can still be reached, and the mean if this policy itself goes on.
* *attribution*: phi_g(a), the Shapley value of slot g in D of the game u(S) = log pi(a | only S decided), under the
  mask of s; beside psi_g(a), that of w(S) = E[reward | a at t, S as in s] - E[reward | S as in s] over all rows of the
  table. The players are the same, and so is the idea that a slot outside S is not decided: for the policy it is empty,
  for the table averaged over. Both sides are centred over the actions, since a preference is relative (the second
  term of w drops out then).
* *attribution between slots*: the same with both sides centred over the slots, too. A policy that only grows surer of
  what it prefers anyway, whatever was decided, would show in *attribution*, and shows no more here.
* *attention*: abs(phi_g) of the chosen action, beside the size of the Shapley interaction of g and t in the table, in
  the network that came of the episode.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from credit_agreement import Exact, spearman
from numpy.typing import NDArray
from scipy.stats import rankdata

from nas_gym.explain import coalitions, shapley_values
from nas_gym.explain.credit_shapley import pair_interactions
from nas_gym.explain.prefixes import slots_of
from nas_gym.spaces import Prefix
from nas_gym_agents.attribution import log_probabilities

Vector = NDArray[np.float64]
LEAST_ACTIONS = 3
LEAST_PLAYERS = 2  # decided slots, for attributions to be compared
LEAST_GROUPS = 3  # the same, for a rank correlation over them alone


@dataclass(frozen=True)
class Decision:
    """One decision of a run, with the network that came of its episode."""

    before: Prefix
    action: int
    network: Prefix


@dataclass(frozen=True, eq=False)
class Sides:
    """What a policy says of one decision, and what the table says: two arrays over groups and legal actions.

    Attributes:
        slot: Of the decision.
        legal: The legal actions, (L,).
        policy: float64 (groups, L), or (1, L) for preferences.
        table: The same shape.
        weight: How often the run took such a decision.
    """

    slot: int
    legal: NDArray[np.int64]
    policy: Vector
    table: Vector
    weight: int


class PolicyView:
    """What a policy says of prefixes of a space: log-probabilities of actions and the critic's values."""

    def __init__(self, model: Any, env: Any) -> None:
        self.policy, self.space, self.encoder = model.policy, env.space, env.encoder

    def values(self, prefixes: Sequence[Prefix]) -> dict[Prefix, float]:
        """Return the critic's values."""
        import torch

        observations = np.stack([self.encoder.encode(prefix) for prefix in prefixes])
        with torch.no_grad():
            told = self.policy.predict_values(self.policy.obs_to_tensor(observations)[0]).numpy().reshape(-1)
        return dict(zip(prefixes, told.astype(float).tolist(), strict=True))

    def logps(self, prefixes: Sequence[Prefix]) -> Vector:
        """Return the log-probabilities of all actions, (n, n_actions)."""
        observations = np.stack([self.encoder.encode(prefix) for prefix in prefixes])
        return log_probabilities(self.policy, observations, np.stack([self.space.legal(p) for p in prefixes]))

    def attributions(self, prefix: Prefix) -> Vector:
        """Return phi of all decided slots and all actions, (len(prefix), n_actions), in the order of the prefix."""
        empty, full = self.encoder.encode(()), self.encoder.encode(prefix)
        groups = [self.encoder.groups[slot][1] for slot in slots_of(self.space, prefix)]
        member = coalitions(len(groups))
        mixed = np.repeat(empty[None], len(member), axis=0)
        for place, part in enumerate(groups):
            mixed[member[:, place], part] = full[part]
        legal = np.repeat(self.space.legal(prefix)[None], len(member), axis=0)
        return shapley_values(log_probabilities(self.policy, mixed, legal).T).T

    def continued(self, prefixes: Sequence[Prefix], rewards: Vector) -> dict[Prefix, float]:
        """Return the mean reward from every prefix of the space if this policy goes on, given all complete prefixes."""
        found = dict(zip(prefixes, rewards.tolist(), strict=True))
        levels: dict[int, dict[Prefix, list[Prefix]]] = {}
        for prefix in prefixes:
            for end in range(len(prefix)):
                levels.setdefault(end, {}).setdefault(prefix[:end], [])
        for end in sorted(levels, reverse=True):
            here = list(levels[end])
            for prefix, logps in zip(here, self.logps(here), strict=True):
                legal = np.flatnonzero(self.space.legal(prefix))
                found[prefix] = float(sum(np.exp(logps[a]) * found[(*prefix, a)] for a in legal.tolist()))
        return found


def distinct(decisions: Sequence[Decision]) -> dict[tuple[Prefix, int, Prefix], int]:
    counts: dict[tuple[Prefix, int, Prefix], int] = {}
    for one in decisions:
        key = (one.before, one.action, one.network)
        counts[key] = counts.get(key, 0) + 1
    return counts


def states(decisions: Sequence[Decision]) -> dict[Prefix, int]:
    """Return how often each state was decided in."""
    counts: dict[Prefix, int] = {}
    for one in decisions:
        counts[one.before] = counts.get(one.before, 0) + 1
    return counts


def preferences(view: PolicyView, after: Mapping[Prefix, float], visited: Mapping[Prefix, int]) -> list[Sides]:
    """Return log-probabilities beside what follows every legal action."""
    found = []
    logps = view.logps(list(visited))
    for (prefix, weight), told in zip(visited.items(), logps, strict=True):
        legal = np.flatnonzero(view.space.legal(prefix))
        if len(legal) >= LEAST_ACTIONS:
            theirs = np.array([[after[(*prefix, a)] for a in legal.tolist()]])
            slot = view.space.next_slot(prefix)
            found.append(Sides(slot, legal, told[legal][None], theirs, weight))
    return found


def attributed(view: PolicyView, effects: Callable[[Prefix], Vector], visited: Mapping[Prefix, int]) -> list[Sides]:
    """Return attributions beside the table's effects, both centred over the legal actions."""
    found = []
    for prefix, weight in visited.items():
        legal = np.flatnonzero(view.space.legal(prefix))
        if len(prefix) >= LEAST_PLAYERS and len(legal) >= LEAST_ACTIONS:
            phi, psi = view.attributions(prefix)[:, legal], effects(prefix)[:, legal]
            slot = view.space.next_slot(prefix)
            found.append(Sides(slot, legal, _centred(phi), _centred(psi), weight))
    return found


def between_slots(sides: Sequence[Sides]) -> list[Sides]:
    """Return attributions beside effects, centred over the slots, too."""
    return [
        replace(one, policy=one.policy - one.policy.mean(axis=0), table=one.table - one.table.mean(axis=0))
        for one in sides
    ]


class Effects:
    """psi of the decided slots on every action, (len(prefix), n_actions), from all rows of a table; remembered."""

    def __init__(self, exact: Exact, rewards: Vector) -> None:
        self._truth, self.rewards = exact.truth, rewards
        self._n_actions = max(len(slot.choices) for slot in exact.truth.space.slots)
        self._known: dict[Prefix, Vector] = {}

    def __call__(self, prefix: Prefix) -> Vector:
        """Return them."""
        found = self._known.get(prefix)
        if found is None:
            found = self._known[prefix] = self._computed(prefix)
        return found

    def _computed(self, prefix: Prefix) -> Vector:
        space, decisions = self._truth.space, self._truth.decisions
        slot = space.next_slot(prefix)
        agrees = decisions[:, list(slots_of(space, prefix))] == np.array(prefix, dtype=np.int16)
        table = np.zeros((self._n_actions, 2 ** len(prefix)))
        for number, member in enumerate(coalitions(len(prefix))):
            rows = agrees[:, member].all(axis=1) & (decisions[:, slot] >= 0)
            actions, rewards = decisions[rows, slot], self.rewards[rows]
            counts = np.bincount(actions, minlength=self._n_actions)
            sums = np.bincount(actions, weights=rewards, minlength=self._n_actions)
            table[:, number] = np.where(counts > 0, sums / np.maximum(counts, 1), 0.0)
        return shapley_values(table).T


def attention(view: PolicyView, exact: Exact, decisions: Sequence[Decision]) -> float:
    """Return the mean rank correlation of abs(phi) of the chosen action with the table's interactions, over groups."""
    total = weights = 0.0
    phis: dict[Prefix, Vector] = {}
    for (before, action, network), weight in distinct(decisions).items():
        if len(before) < LEAST_GROUPS or view.space.legal(before).sum() < 2:
            continue
        if before not in phis:
            phis[before] = view.attributions(before)
        filled = list(slots_of(view.space, network))
        pairs = pair_interactions(exact.coalition_values[exact.truth.rows[network]])
        theirs = np.abs(pairs[filled[len(before)], filled[: len(before)]])
        total += weight * spearman(np.abs(phis[before][:, action]), theirs)
        weights += weight
    return total / weights if weights else float("nan")


class Alignment:
    """The mean rank correlation of two sides over decisions, and what it is when actions are dealt out anew.

    Of all decisions at a slot with the same legal actions the products of the two sides' ranks are summed up into one
    matrix, (L, L): its trace is what they add to the mean, and dealing out the actions anew permutes its columns.
    """

    def __init__(self, sides: Sequence[Sides]) -> None:
        weights = sum(one.weight for one in sides)
        self._products: dict[tuple[int, tuple[int, ...]], Vector] = {}
        for one in sides:
            product = one.weight / weights * _standard(one.policy).T @ _standard(one.table)
            place = (one.slot, tuple(one.legal.tolist()))
            self._products[place] = self._products.get(place, 0.0) + product

    @property
    def value(self) -> float:
        """The mean, weighted by how often a decision was taken."""
        return float(sum(np.trace(product) for product in self._products.values()))

    def permuted(self, generator: np.random.Generator, n_slots: int, n_actions: int) -> float:
        """Return it with the table's actions dealt out anew, the same way in all decisions at a slot."""
        keys = generator.random((n_slots, n_actions))
        total = 0.0
        for (slot, legal), product in self._products.items():
            order = np.argsort(keys[slot, list(legal)])
            total += float(product[np.arange(len(order)), order].sum())
        return total


def _standard(values: Vector) -> Vector:
    """Return ranks over all entries with mean 0 and length 1, so that a product of two is their correlation."""
    ranks = rankdata(values).reshape(values.shape)
    centred = ranks - ranks.mean()
    length = float(np.sqrt((centred**2).sum()))
    return centred / length if length > 0 else centred


def _centred(values: Vector) -> Vector:
    return values - values.mean(axis=1, keepdims=True)
