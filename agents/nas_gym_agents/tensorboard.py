"""TensorBoard: what a search found, what its policy does, and what moved it, while it runs and at its end.

`docs/tensorboard.md` lists the tags. There are three step axes: the number of evaluations (``nas/``, ``best/``), the
environment's steps (``policy/``, ``actions/``, ``xai/``, and stable-baselines3's numbers) and epochs (``curves/``).
Steps grow strictly within every tag; a value that would break that is left out: TensorBoard would drop others for it.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from stable_baselines3.common.logger import FormatUnsupportedError, KVWriter

from nas_gym.explain.record import FORCED, ILLEGAL, UNEXPLAINED, Decision, Header
from nas_gym.explain.words import CLOSE_TO_CHANCE
from nas_gym.spaces import SearchSpace, n_actions
from nas_gym_agents.tensorboard_end import facts_table, pictures
from nas_gym_agents.tensorboard_tab import TabWriter
from nas_gym_agents.tensorboard_values import CHARTS, histogram, image, text

if TYPE_CHECKING:
    import pandas as pd
    from tensorboard.compat.proto.summary_pb2 import Summary

    from nas_gym.evaluation import Evaluation
    from nas_gym.history import Episode
    from nas_gym.run import Ranked

WINDOW = 16  # episodes that nas/mean_reward looks back
MOST_CURVES = 64  # series under curves/
HISTOGRAM_DECISIONS = 96  # per histogram, for agents without a policy
WALL_CLOCK = frozenset({"time/fps", "time/time_elapsed"})  # left out: a resumed search would show a replay's speed
METRICS = ("nas/best_val_acc", "nas/best_reward", "nas/mean_reward", "nas/unique_evals", "nas/failures/all")


ScalarReader = Callable[[int, Mapping[str, float]], None]
"""Is given a step and numbers by tag."""


class TensorBoardWriter(KVWriter):
    """Writes a search's events; a `DecisionReader`, and an output format of stable-baselines3's logger.

    It draws no random number and keeps no state beyond the process: a resumed search writes everything again.

    Args:
        folder: Of the event file; made if it is missing.
        space: The search space.
        settings: What HParams shows.
        header: Gives the header of the decision log, for the tab *NAS decisions*; None: the names of the space do.
    """

    def __init__(
        self,
        folder: Path,
        *,
        space: SearchSpace,
        settings: Mapping[str, bool | int | float | str],
        header: Callable[[], Header] | None = None,
    ) -> None:
        self._space = space
        self._slots = [slot.name for slot in space.slots]
        self._started = time.perf_counter()
        self._seconds = 0.0
        self._last: dict[str, int] = {}
        self._pending: list[Decision] = []  # of agents without a policy
        self._illegal_seen = False
        self._rewards: deque[float] = deque(maxlen=WINDOW)
        self._failures: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._evaluations = 0
        self._best_accuracy = self._best_reward = -np.inf
        self._curves: dict[int, tuple[float, ...]] = {}  # by number of the evaluation, new candidates only
        self._first: dict[str, int] = {}  # from key to number of the evaluation
        self._tab = TabWriter(self._add_values, space, settings, header)
        self.also: ScalarReader | None = None  # is given the scalars that are written
        self.reopen(folder)
        self._write_settings(settings)

    def reopen(self, folder: Path) -> None:
        """Go on in a folder after `close`, for instance once it was renamed."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), max_queue=1_000, flush_secs=5)

    def close(self) -> None:
        """Write what is left and close the file; more than once does nothing."""
        self._writer.close()

    # stable-baselines3

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Write stable-baselines3's numbers under their own names; see `KVWriter`."""
        values = {}
        for key, value in key_values.items():
            if key in WALL_CLOCK or "tensorboard" in (key_excluded.get(key) or ()):
                continue
            if not isinstance(value, bool | int | float | np.number):
                raise FormatUnsupportedError(["tensorboard"], f"{key}: {type(value).__name__}")
            values[key] = float(value)
        self._add(step, scalars=values)

    # DecisionReader

    def decisions(self, decisions: Sequence[Decision]) -> None:
        """Take decisions of finished episodes: all for the tab; agents without a policy get histograms of actions."""
        self._tab.decisions(decisions)
        self._pending += [decision for decision in decisions if decision.logp is None]
        if len(self._pending) >= HISTOGRAM_DECISIONS:
            self._flush_actions()

    def rollout(self, decisions: Sequence[Decision], seconds: float) -> None:
        """Take all decisions of one rollout, and the seconds that explaining them took."""
        self._tab.rollout(decisions)
        self._seconds += seconds
        self._illegal_seen = self._illegal_seen or any(d.flags & ILLEGAL for d in decisions)
        free = [d for d in decisions if not d.flags & FORCED]
        scalars, histograms = _policy(free), self._actions(decisions)
        scalars["xai/overhead_share"] = self._seconds / (time.perf_counter() - self._started)
        errors = [d.logp_error for d in decisions if d.logp_error is not None]
        if errors:
            scalars["xai/logp_error_max"] = max(errors)
        if self._illegal_seen:
            scalars["policy/illegal_share"] = float(np.mean([bool(d.flags & ILLEGAL) for d in decisions]))
        explained = [d for d in free if not d.flags & UNEXPLAINED]
        if explained:
            phi = np.array([d.phi for d in explained], dtype=np.float64)
            decided = np.array([d.observation for d in explained]) > 0
            groups = self._slots if phi.shape[1] == len(self._slots) else [f"group {i}" for i in range(phi.shape[1])]
            scalars |= dict(zip([f"xai/mean_abs_attr/{g}" for g in groups], np.abs(phi).mean(0), strict=True))
            scalars["xai/prior_preference"] = float(np.mean([(d.phi0 or 0.0) - d.log_uniform for d in explained]))
            scalars["xai/additivity_residual_max"] = max(d.residual or 0.0 for d in explained)
            moved = {f"xai/attr/{g}": phi[decided[:, i], i] for i, g in enumerate(groups) if decided[:, i].any()}
            histograms |= {tag: histogram(tag, values, 30) for tag, values in moved.items()}
        self._add(_end(decisions), scalars, histograms)

    def _actions(self, decisions: Sequence[Decision]) -> dict[str, "Summary.Value"]:
        bins = np.arange(n_actions(self._space) + 1) - 0.5
        steps = np.array([d.step for d in decisions])
        actions = np.array([d.action for d in decisions])
        tags = {f"actions/step{step}": actions[steps == step] for step in np.unique(steps)}
        return {tag: histogram(tag, taken, bins) for tag, taken in tags.items()}

    def _flush_actions(self) -> None:
        pending, self._pending = self._pending, []
        if pending:
            self._add(_end(pending), others=self._actions(pending))

    # Episodes

    def episode(self, episode: "Episode", evaluation: "Evaluation | None", *, from_store: int) -> None:
        """Take one finished episode.

        An episode that an illegal action ended is counted with the next evaluation.

        Args:
            episode: As in the history.
            evaluation: Its evaluation; None after an illegal action.
            from_store: Evaluations so far that were answered without training.
        """
        self._tab.episode(episode, evaluation)
        self._rewards.append(episode.reward)
        self._best_reward = max(self._best_reward, episode.reward)
        if episode.status != "ok":
            self._failures[episode.status] += 1
        if evaluation is None:
            return
        self._evaluations += 1
        scalars = {
            "nas/reward": episode.reward,
            "nas/best_reward": self._best_reward,
            "nas/mean_reward": float(np.mean(self._rewards)),
            "nas/answers_from_store": from_store,
            "nas/cache_hit_rate": from_store / self._evaluations,
            **self._take(evaluation),
            **self._failed(),
        }
        scalars["nas/unique_evals"] = len(self._first)
        self._add(self._evaluations, scalars)

    def _failed(self) -> dict[str, float]:
        self._told = self._failures.copy()
        kinds = {f"nas/failures/{status}": count for status, count in self._failures.items()}
        return {"nas/failures/all": self._failures.total(), **kinds}

    def _take(self, evaluation: "Evaluation") -> dict[str, float]:
        number, accuracy, curve = self._evaluations, evaluation.accuracy, evaluation.curve
        scalars: dict[str, float] = {}
        if self._first.setdefault(evaluation.key, number) == number and curve:
            self._curves[number] = curve
            scalars |= {f"nas/val_acc_epoch/{epoch}": curve[epoch - 1] for epoch in _epochs(len(curve))}
        if accuracy is not None:
            scalars["nas/val_acc"] = accuracy
            if accuracy > self._best_accuracy:
                self._best_accuracy = accuracy
                if sum(tag.startswith("curves/") for tag in self._last) < MOST_CURVES:
                    self._add_curve(number)
        if np.isfinite(self._best_accuracy):
            scalars["nas/best_val_acc"] = self._best_accuracy
        return scalars

    def _add_curve(self, number: int) -> None:
        for epoch, accuracy in enumerate(self._curves.get(number, ()), start=1):
            self._add(epoch, {f"curves/evaluation_{number:05d}": accuracy})

    # The end

    def finish(self, best: "Ranked", decisions: "pd.DataFrame", header: Header, words: Sequence[str]) -> None:
        """Draw what the search came to.

        Args:
            best: The best candidate.
            decisions: All decisions of the run, and the header of their log.
            header: Names of slots, choices and groups.
            words: The account of the best candidate's decisions, by paragraph.
        """
        from nas_gym.drawing import architecture_table
        from nas_gym.explain.pictures import png

        self._flush_actions()
        self._tab.words(best.episode, words)
        self._add_curve(self._first.get(best.candidate.key, 0))
        step = max(1, self._evaluations)
        if self._failures != self._told:  # there were some after the last evaluation
            self._add(step + 1, self._failed())
        table = f"{facts_table(best)}\n\n{architecture_table(best.candidate.architecture)}"
        texts = {"best/table": table, "best/account": "\n\n".join(words)}
        self._add(step, others={tag: text(tag, words_) for tag, words_ in texts.items()})
        drawn = pictures(step, self._space, best, decisions, header, self._curves, self._first)
        for step_shown, tag, figure in drawn:
            self._add(step_shown, others={tag: image(tag, png(figure))})
        self._writer.file_writer.add_summary(self._session_end)
        self._writer.flush()

    # The tab

    def checks(self, checks: Sequence[Mapping[str, Any]]) -> None:
        """Take the checks of the run's attributions (`nas_gym.tensorboard.records.checks_record`)."""
        self._tab.checks(checks)

    def credit(self, frame: "pd.DataFrame", views: Mapping[str, Any]) -> None:
        """Take what decisions earned, by view (`nas_gym.tensorboard.records.credit_records`)."""
        self._tab.credit(frame, views)

    # The event file

    def _add_values(self, step: int, values: Mapping[str, "Summary.Value"]) -> None:
        self._add(step, others=values)

    def _add(
        self,
        step: int,
        scalars: Mapping[str, float] | None = None,
        others: Mapping[str, "Summary.Value"] | None = None,
    ) -> None:
        """Write values as one event; what would not be after its tag's last step is left out."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = {tag: Summary.Value(tag=tag, simple_value=value) for tag, value in (scalars or {}).items()}
        values |= others or {}
        late = [tag for tag in values if step <= self._last.get(tag, -1)]
        for tag in late:
            del values[tag]
        self._last |= dict.fromkeys(values, step)
        if values:
            self._writer.file_writer.add_summary(Summary(value=values.values()), step)
        told = {tag: value for tag, value in (scalars or {}).items() if tag in values}
        if told and self.also is not None:
            self.also(step, told)

    def _write_settings(self, settings: Mapping[str, bool | int | float | str]) -> None:
        """Write the charts of several tags, and what HParams shows; its last part waits for the end."""
        from torch.utils.tensorboard import summary

        hparams: Any = summary.hparams  # untyped
        self._writer.add_custom_scalars(CHARTS)
        named = {name: str(value).lower() if isinstance(value, bool) else value for name, value in settings.items()}
        experiment, start, self._session_end = hparams(named, dict.fromkeys(METRICS, 0.0))
        self._writer.file_writer.add_summary(experiment)
        self._writer.file_writer.add_summary(start)


def _policy(free: Sequence[Decision]) -> dict[str, float]:
    """Return the policy's numbers over the free decisions of a rollout."""
    known = [(d.step, d.entropy, -d.log_uniform) for d in free if d.entropy is not None]
    if not known:
        return {}
    steps, entropy, most = (np.array(column) for column in zip(*known, strict=True))
    means = {f"policy/entropy/step{step}": float(entropy[steps == step].mean()) for step in np.unique(steps)}
    return {**means, "policy/close_to_chance": float((entropy >= CLOSE_TO_CHANCE * most).mean())}


def _end(decisions: Sequence[Decision]) -> int:
    return max(decision.global_step for decision in decisions) + 1


def _epochs(count: int) -> list[int]:
    """Return the epochs that get a chart, so that there are few: powers of two."""
    return [2**power for power in range(count.bit_length())]
