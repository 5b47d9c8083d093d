"""TensorBoard: what a search found, what its policy does, and what moved it, while it runs and at its end.

`docs/tensorboard.md` lists the tags. There are three step axes: the number of evaluations (``nas/``, ``best/``), the
environment's steps (``policy/``, ``actions/``, ``xai/``, and stable-baselines3's numbers) and epochs (``curves/``).
Steps grow strictly within every tag; a value that would break that is left out: TensorBoard would drop others for it.
"""

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.logger import FormatUnsupportedError, KVWriter

from nas_gym.explain.record import FORCED, ILLEGAL, UNEXPLAINED, Decision, Header
from nas_gym.explain.words import CLOSE_TO_CHANCE
from nas_gym.spaces import SearchSpace, n_actions

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from tensorboard.compat.proto.summary_pb2 import Summary

    from nas_gym.evaluation import Evaluation
    from nas_gym.history import Episode
    from nas_gym.run import Ranked

WINDOW = 16  # episodes that nas/mean_reward looks back
MOST_CURVES = 64  # series under curves/
HISTOGRAM_DECISIONS = 96  # per histogram, for agents without a policy
MOMENTS = 4  # pictures of the policy over the search
WALL_CLOCK = frozenset({"time/fps", "time/time_elapsed"})  # left out: a resumed search would show a replay's speed
METRICS = ("nas/best_val_acc", "nas/best_reward", "nas/mean_reward", "nas/unique_evals", "nas/failures/all")

CHARTS = {
    "search": {
        "validation accuracy": ["Multiline", ["nas/best_val_acc", "nas/val_acc$"]],
        "reward": ["Multiline", ["nas/best_reward", "nas/mean_reward"]],
        "failures": ["Multiline", ["nas/failures/.*"]],
    },
    "trainings": {
        "validation curves of the best so far": ["Multiline", ["curves/evaluation_.*"]],
        "validation accuracy by epoch": ["Multiline", ["nas/val_acc_epoch/.*"]],
    },
    "policy": {
        "entropy by step": ["Multiline", ["policy/entropy/.*"]],
        "mean |attribution| by slot": ["Multiline", ["xai/mean_abs_attr/.*"]],
    },
}

# Shown by TensorBoard beside the charts; by tag, or by the tag's beginning where it ends in "/".
DESCRIPTIONS = {
    "nas/best_val_acc": "Highest validation accuracy so far, by number of evaluations.",
    "nas/best_reward": "Highest reward so far, by number of evaluations.",
    "nas/val_acc_epoch/": "Validation accuracy of every new candidate after this many epochs.",
    "nas/val_acc": "Validation accuracy of every evaluation that succeeded.",
    "nas/reward": "Reward of every evaluated episode.",
    "nas/mean_reward": f"Mean reward of the last {WINDOW} episodes, those that an illegal action ended included.",
    "nas/unique_evals": "Distinct candidates so far.",
    "nas/answers_from_store": "Evaluations so far that were answered without training.",
    "nas/cache_hit_rate": "Share of the evaluations so far that were answered without training.",
    "nas/failures/": "Episodes so far that failed, by kind; all: of any kind.",
    "curves/all_trainings": "All validation curves; the best one in colour.",
    "curves/": "Validation accuracy by epoch of the candidates that were the best when they came.",
    "policy/entropy/": "Mean entropy of the policy at this step of the episode, in nats; forced decisions left out.",
    "policy/close_to_chance": f"Share of free decisions with {CLOSE_TO_CHANCE:.0%} of the uniform policy's entropy or more.",
    "policy/illegal_share": "Share of decisions that were illegal; written once there was one.",
    "policy/action_probabilities": "Mean probability of each choice (rows: slots). The slider goes through the search.",
    "actions/frequencies": "How often each choice was taken (rows: slots). The slider goes through the search.",
    "actions/": "The actions taken at this step of the episode, as numbers: histogram.",
    "xai/mean_abs_attr_by_step": "Mean |attribution| of each choice (row) for each later decision (column), in nats.",
    "xai/mean_abs_attr_of_best": "Mean |attribution| over the decisions of the best architecture, in nats.",
    "xai/mean_abs_attr/": "Mean |attribution| of this slot's choice over all free decisions of a rollout, in nats.",
    "xai/attributions": "Attributions of the latest decisions, one dot each; colour: probability of the choice.",
    "xai/attr/": "Attributions of this slot's choice, where it was decided, in nats: histogram.",
    "xai/prior_preference": "Mean of phi0 less the uniform log-probability: the preference before any decision.",
    "xai/additivity_residual_max": "Largest |phi0 + sum(phi) - logp| of a rollout; should be below 0.001.",
    "xai/logp_error_max": "Largest |recomputed logp - logp acted with| of a rollout; should be below 0.0001.",
    "xai/overhead_share": "Share of the wall-clock time so far that explaining took.",
    "best/": "The best architecture.",
    "best_decisions/": "What moved the policy from chance to this choice (shap's waterfall).",
}


class TensorBoardWriter(KVWriter):
    """Writes a search's events; a `DecisionReader`, and an output format of stable-baselines3's logger.

    It draws no random number and keeps no state beyond the process: a resumed search writes everything again.

    Args:
        folder: Of the event files; made if it is missing.
        space: The search space: names of slots and choices.
        settings: What HParams shows.
    """

    def __init__(self, folder: Path, *, space: SearchSpace, settings: Mapping[str, bool | int | float | str]) -> None:
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
        self.reopen(folder)
        self._write_settings(settings)

    def reopen(self, folder: Path) -> None:
        """Go on in a folder after `close`, for instance once it was renamed."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), max_queue=1_000, flush_secs=5)

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
        """Take decisions of finished episodes; here agents without a policy get their histograms of actions."""
        self._pending += [decision for decision in decisions if decision.logp is None]
        if len(self._pending) >= HISTOGRAM_DECISIONS:
            self._flush_actions()

    def rollout(self, decisions: Sequence[Decision], seconds: float) -> None:
        """Take all decisions of one rollout, and the seconds that explaining them took."""
        self._seconds += seconds
        self._illegal_seen = self._illegal_seen or any(d.flags & ILLEGAL for d in decisions)
        free = [d for d in decisions if not d.flags & FORCED]
        explained = [d for d in free if not d.flags & UNEXPLAINED]
        scalars = {**_policy(free), **self._attributions(explained)}
        scalars["xai/overhead_share"] = self._seconds / (time.perf_counter() - self._started)
        errors = [d.logp_error for d in decisions if d.logp_error is not None]
        if errors:
            scalars["xai/logp_error_max"] = max(errors)
        if self._illegal_seen:
            scalars["policy/illegal_share"] = float(np.mean([bool(d.flags & ILLEGAL) for d in decisions]))
        histograms = {**self._actions(decisions), **self._histograms(explained)}
        self._add(_end(decisions), scalars, histograms)

    def _attributions(self, explained: Sequence[Decision]) -> dict[str, float]:
        if not explained:
            return {}
        phi = np.abs([d.phi for d in explained]).mean(0)
        return {
            **{f"xai/mean_abs_attr/{self._group(i, len(phi))}": float(value) for i, value in enumerate(phi)},
            "xai/prior_preference": float(np.mean([(d.phi0 or 0.0) - d.log_uniform for d in explained])),
            "xai/additivity_residual_max": max(d.residual or 0.0 for d in explained),
        }

    def _histograms(self, explained: Sequence[Decision]) -> dict[str, "Summary.Value"]:
        if not explained:
            return {}
        phi = np.array([d.phi for d in explained], dtype=np.float64)
        decided = np.array([d.observation for d in explained]) > 0
        tags = [f"xai/attr/{self._group(i, phi.shape[1])}" for i in range(phi.shape[1])]
        return {tag: _histogram(tag, phi[decided[:, i], i], 30) for i, tag in enumerate(tags) if decided[:, i].any()}

    def _actions(self, decisions: Sequence[Decision]) -> dict[str, "Summary.Value"]:
        bins = np.arange(n_actions(self._space) + 1) - 0.5
        steps = np.array([_step(d) for d in decisions])
        actions = np.array([d.action for d in decisions])
        tags = {f"actions/step{step}": actions[steps == step] for step in np.unique(steps)}
        return {tag: _histogram(tag, taken, bins) for tag, taken in tags.items()}

    def _flush_actions(self) -> None:
        pending, self._pending = self._pending, []
        if pending:
            self._add(_end(pending), others=self._actions(pending))

    def _group(self, index: int, count: int) -> str:
        return self._slots[index] if count == len(self._slots) else f"group {index + 1}"

    # Episodes

    def episode(self, episode: "Episode", evaluation: "Evaluation | None", *, from_store: int) -> None:
        """Take one finished episode.

        An episode that an illegal action ended is counted with the next evaluation.

        Args:
            episode: As in the history.
            evaluation: Its evaluation; None after an illegal action.
            from_store: Evaluations so far that were answered without training.
        """
        self._rewards.append(episode.reward)
        self._best_reward = max(self._best_reward, episode.reward)
        if episode.status != "ok":
            self._failures[episode.status] += 1
        if evaluation is None:
            return
        self._evaluations += 1
        scalars = {
            "nas/reward": episode.reward,
            "nas/answers_from_store": from_store,
            "nas/cache_hit_rate": from_store / self._evaluations,
            **self._take(evaluation),
            **self._standing(),
        }
        self._add(self._evaluations, scalars)

    def _standing(self) -> dict[str, float]:
        return {
            "nas/best_reward": self._best_reward,
            "nas/mean_reward": float(np.mean(self._rewards)),
            "nas/unique_evals": len(self._first),
            **self._failed(),
        }

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
        from nas_gym import drawing
        from nas_gym_agents import figures

        self._flush_actions()
        step, number = max(1, self._evaluations), self._first.get(best.candidate.key, 0)
        self._add_curve(number)
        if self._failures != self._told:  # there were some after the last evaluation
            self._add(step + 1, self._failed())
        self._add_text(step, "best/table", _table(best, drawing.architecture_table(best.candidate.architecture)))
        self._add_text(step, "best/account", "\n\n".join(words))
        picture = drawing.decision_figure(self._space, best.actions, best.evaluation)
        self._add_figure(step, "best/architecture", picture)
        if self._curves:
            self._add_figure(step, "curves/all_trainings", figures.curves_figure(self._curves, number))
        if header.slots and len(decisions):
            self._draw_policy(decisions, header)
        mine = decisions[decisions["episode"] == best.episode]
        if len(figures.explained(mine)):
            self._draw_attributions(step, decisions, mine, header)
        self._write_end()

    def _draw_policy(self, decisions: "pd.DataFrame", header: Header) -> None:
        """Draw the heat map at some moments of the search; one that spans three policies each."""
        from nas_gym_agents import figures

        tag = "actions/frequencies" if decisions["probabilities"].isna().all() else "policy/action_probabilities"
        versions = np.unique(decisions["policy_version"])
        width = min(3, len(versions))
        for start in np.unique(np.linspace(0, len(versions) - width, MOMENTS).round().astype(int)):
            rows = decisions[decisions["policy_version"].isin(versions[start : start + width])]
            self._add_figure(int(rows["global_step"].max()) + 1, tag, figures.step_action_heatmap(rows, header))

    def _draw_attributions(self, step: int, decisions: "pd.DataFrame", mine: "pd.DataFrame", header: Header) -> None:
        from nas_gym_agents import figures

        self._add_figure(step, "xai/mean_abs_attr_by_step", figures.group_step_heatmap(decisions, header))
        self._add_figure(step, "xai/mean_abs_attr_of_best", figures.attribution_bar(mine, header))
        self._add_figure(step, "xai/attributions", figures.attribution_beeswarm(decisions, header))
        for place, (slot, figure) in enumerate(figures.attribution_waterfalls(mine, header), start=1):
            self._add_figure(step, f"best_decisions/{place:02d} {slot}", figure)

    # The event file

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
        for tag, value in values.items():
            if tag not in self._last:
                value.metadata.summary_description = _description(tag)
            self._last[tag] = step
        if values:
            self._writer.file_writer.add_summary(Summary(value=values.values()), step)

    def _add_text(self, step: int, tag: str, text: str) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.text import metadata
        from tensorboard.util import tensor_util

        tensor = tensor_util.make_tensor_proto(np.array([text.encode()], dtype=object))
        value = Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(tag, ""), tensor=tensor)
        self._add(step, others={tag: value})

    def _add_figure(self, step: int, tag: str, figure: "Figure") -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        from nas_gym_agents.figures import png

        data = png(figure)
        width, height = (int.from_bytes(data[at : at + 4]) for at in (16, 20))  # of the header chunk
        image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=data)
        self._add(step, others={tag: Summary.Value(tag=tag, image=image)})

    def _write_settings(self, settings: Mapping[str, bool | int | float | str]) -> None:
        """Write the charts of several tags, and what HParams shows; its last part waits for the end."""
        from torch.utils.tensorboard.summary import hparams

        self._writer.add_custom_scalars(CHARTS)
        named = {name: str(value).lower() if isinstance(value, bool) else value for name, value in settings.items()}
        experiment, start, self._session_end = hparams(named, dict.fromkeys(METRICS, 0.0))
        self._writer.file_writer.add_summary(experiment)
        self._writer.file_writer.add_summary(start)

    def _write_end(self) -> None:
        self._writer.file_writer.add_summary(self._session_end)
        self._writer.flush()


def _description(tag: str) -> str:
    return next(
        (text for known, text in DESCRIPTIONS.items() if tag == known or known[-1] == "/" and tag.startswith(known)), ""
    )


def _histogram(tag: str, values: NDArray[Any], bins: Any) -> "Summary.Value":
    from torch.utils.tensorboard.summary import histogram

    return histogram(tag, values, bins).value[0]


def _policy(free: Sequence[Decision]) -> dict[str, float]:
    """Return the policy's numbers over the free decisions of a rollout."""
    known = [(_step(d), d.entropy, -d.log_uniform) for d in free if d.entropy is not None]
    if not known:
        return {}
    steps, entropy, most = (np.array(column) for column in zip(*known, strict=True))
    means = {f"policy/entropy/step{step}": float(entropy[steps == step].mean()) for step in np.unique(steps)}
    return {**means, "policy/close_to_chance": float((entropy >= CLOSE_TO_CHANCE * most).mean())}


def _step(decision: Decision) -> int:
    """Return how many decisions came before: within a rollout, the numbers of steps are not known yet."""
    return int(np.count_nonzero(decision.observation)) if decision.observation.size else decision.step


def _end(decisions: Iterable[Decision]) -> int:
    return max(decision.global_step for decision in decisions) + 1


def _epochs(count: int) -> list[int]:
    """Return the epochs that get a chart: powers of two and the last one."""
    return sorted({2**power for power in range(count.bit_length()) if 2**power <= count} | {count})


def _table(best: "Ranked", layers: str) -> str:
    """Return the best candidate as Markdown."""
    evaluation, candidate = best.evaluation, best.candidate
    rows = {"validation accuracy": f"{evaluation.accuracy:.4f}" if evaluation.accuracy is not None else "none"}
    rows |= {"parameters": f"{evaluation.parameters:,}", "multiply-accumulates": f"{evaluation.macs:,}"}
    rows |= {name.replace("_", " "): f"{value:g}" for name, value in dict(candidate.hyperparameters).items()}
    rows |= {"episode": str(best.episode), "key": f"`{candidate.key}`"}
    facts = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    decided = "\n".join(f"| {slot} | {choice} |" for slot, choice in best.choices)
    return f"| | |\n| --- | --- |\n{facts}\n\n| decision | choice |\n| --- | --- |\n{decided}\n\n{layers}"
