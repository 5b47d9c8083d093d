"""TPE: the tree-structured Parzen estimator of Optuna, asked decision by decision."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from nas_gym.errors import ConfigurationError
from nas_gym.optuna_package import optuna_package, quiet
from nas_gym_agents.agent import Choose, Mask, Recorder, SearchResult, play_all
from nas_gym_agents.changes import actions_of

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True, kw_only=True)
class TPE:
    """The tree-structured Parzen estimator (Bergstra et al. 2011, NeurIPS 24), as Optuna's ``TPESampler`` has it.

    Every decision is a categorical parameter, suggested when the episode comes to it: the space is defined by running.
    Optuna wants the same choices whenever a name comes again, so a parameter is named after its slot and the
    actions that are legal there: what is learned under one mask does not help under another. A single
    legal action is taken without asking.

    Attributes:
        startup: Random candidates before the estimator is used.
        candidates: Values drawn for each decision, of which the one with the highest expected improvement is taken.
        multivariate: Whether decisions are modelled together (in groups, since the space is conditional).
        at_once: Candidates suggested before the rewards of any of them are told; those still to come count as bad
            (Optuna's constant liar), so that the next ones keep away from them. Workers need more than 1. The
            history depends on it, but not on the workers.
    """

    name: str = "tpe"
    startup: int = 10
    candidates: int = 24
    multivariate: bool = False
    at_once: int = 1

    def __post_init__(self) -> None:
        for name, least in (("startup", 0), ("candidates", 1), ("at_once", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ConfigurationError(f"tpe's {name} is a whole number, at least {least}, got {value!r}")
        if not isinstance(self.multivariate, bool):
            raise ConfigurationError(f"tpe's multivariate is true or false, got {self.multivariate!r}")
        optuna_package()

    def search(self, env: gym.Env[Any, Any], *, seed: int, recorder: Recorder | None = None) -> SearchResult:
        """Search until the budget is spent; see `SearchAgent`."""
        with quiet(everything=False):
            study = self._study(seed)
            result, updates, spent = SearchResult(), 0, False
            while not spent:
                trials: list[optuna.trial.Trial] = []
                episodes = list(play_all(env, self._choices(study, trials), recorder))
                for played, trial in zip(episodes, trials, strict=True):
                    spent = played.spent
                    if not spent:
                        study.tell(trial, played.reward)
                        result = result.better(played)
                if not spent:
                    updates += 1
                    if recorder is not None:
                        recorder.update()
            return replace(result, updates=updates)

    def _study(self, seed: int) -> "optuna.study.Study":
        package = optuna_package()
        sampler = package.samplers.TPESampler(
            seed=seed % 2**32,
            n_startup_trials=self.startup,
            n_ei_candidates=self.candidates,
            multivariate=self.multivariate,
            group=self.multivariate,
            constant_liar=self.at_once > 1,
        )
        study: optuna.study.Study = package.create_study(direction="maximize", sampler=sampler)
        return study

    def _choices(self, study: "optuna.study.Study", trials: list["optuna.trial.Trial"]) -> Iterator[Choose]:
        """Yield what each of the next candidates chooses, and note their trials."""
        for _ in range(self.at_once):
            trials.append(study.ask())
            yield partial(_choose, trials[-1])


def _choose(trial: "optuna.trial.Trial", slot: int, legal: Mask) -> int:
    options = actions_of(legal)
    if len(options) == 1:
        return options[0]
    name = f"slot {slot} of {' '.join(map(str, options))}"
    return int(trial.suggest_categorical(name, options))
