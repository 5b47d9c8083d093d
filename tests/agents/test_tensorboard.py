"""TensorBoard's events against the decision log and the history, which say the same independently."""

import itertools
import random
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot
from stable_baselines3.common.logger import FormatUnsupportedError
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata as hparams

import nas_gym_agents.runner
from nas_gym.evaluation import Evaluation
from nas_gym.explain.record import FORCED, UNEXPLAINED, Decision
from nas_gym.history import Episode
from nas_gym.run import Run
from nas_gym.spaces import ChainSpace
from nas_gym_agents.runner import search
from nas_gym_agents.settings import SearchSettings
from nas_gym_agents.tensorboard import TensorBoardWriter

DOCUMENT = Path(__file__).parents[2] / "docs" / "tensorboard.md"
SPACE = ChainSpace((1, 8, 8), 10, max_layers=3)
CLOCKS = {"xai/overhead_share"}
EVERYTHING = dict.fromkeys(("scalars", "images", "histograms", "compressedHistograms", "tensors"), 0)


@dataclass(frozen=True)
class Events:
    """What EventAccumulator reads back."""

    folder: Path

    @cached_property
    def all(self) -> EventAccumulator:
        return EventAccumulator(str(self.folder), size_guidance=EVERYTHING).Reload()

    @cached_property
    def scalars(self) -> dict[str, pd.Series]:
        found = {tag: self.all.Scalars(tag) for tag in self.all.Tags()["scalars"]}
        return {tag: pd.Series([e.value for e in es], [e.step for e in es]) for tag, es in found.items()}

    @cached_property
    def others(self) -> dict[str, list[tuple[int, Any]]]:
        """Histograms, images and texts."""
        tags, all_ = self.all.Tags(), self.all
        found = {tag: [(e.step, e.histogram_value) for e in all_.Histograms(tag)] for tag in tags["histograms"]}
        found |= {tag: [(e.step, e.encoded_image_string) for e in all_.Images(tag)] for tag in tags["images"]}
        texts = [tag for tag in tags["tensors"] if not tag.startswith("custom_scalars")]
        return found | {
            tag: [(e.step, b"".join(e.tensor_proto.string_val)) for e in all_.Tensors(tag)] for tag in texts
        }


def generators() -> tuple[Any, ...]:
    numpy_state = np.random.get_state()[1].tobytes()  # noqa: NPY002
    return random.getstate(), numpy_state, torch.get_rng_state().numpy().tobytes()


class CheckedWriter(TensorBoardWriter):
    """Fails where a call moves a global random generator or leaves a figure open."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in ("episode", "rollout", "decisions", "write", "finish", "close", "reopen"):
            return found

        def checked(*args: Any, **kwargs: Any) -> Any:
            before = generators(), pyplot.get_fignums()
            result = found(*args, **kwargs)
            assert (generators(), pyplot.get_fignums()) == before
            return result

        return checked


def searched(folder: Path, agent: str, **settings: Any) -> tuple[Run, Events]:
    arguments = {"env_args": {"evaluator": "hash", "max_layers": 2}, "evaluations": 40, "agent": agent, **settings}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nas_gym_agents.runner, "TensorBoardWriter", CheckedWriter)
        search(SearchSettings(**arguments), folder / "run")
    return Run(folder / "run"), Events(folder / "run" / "tensorboard")


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    return searched(tmp_path_factory.mktemp("masked"), "maskable-ppo", agent_args={"n_steps": 32, "batch_size": 16})


@pytest.fixture(scope="module")
def unmasked(tmp_path_factory):
    return searched(tmp_path_factory.mktemp("ppo"), "ppo", agent_args={"n_steps": 48, "batch_size": 24}, evaluations=6)


@pytest.fixture(scope="module")
def policy_free(tmp_path_factory):
    return searched(tmp_path_factory.mktemp("random"), "random")


@pytest.fixture(params=["masked", "unmasked", "policy_free"])
def run_and_events(request):
    return request.getfixturevalue(request.param)


def rollouts(run: Run) -> list[tuple[int, pd.DataFrame]]:
    """The decisions by policy: every rollout ends in an update; its step is the number of steps at its end."""
    groups = run.decisions.sort_values("global_step").groupby("policy_version")
    return [(int(rows["global_step"].max()) + 1, rows) for _, rows in groups]


def free(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["n_valid"] > 1]


def phis(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame([list(map(float, phi)) for phi in rows["phi"]])


def assert_series(found: pd.Series, expected: dict[int, float]) -> None:
    assert list(found.index) == list(expected)
    np.testing.assert_allclose(found.to_numpy(), list(expected.values()), rtol=1e-5, atol=1e-6)


def test_steps_grow_strictly(run_and_events):
    _, events = run_and_events
    steps = {tag: list(series.index) for tag, series in events.scalars.items()}
    steps |= {tag: [step for step, _ in values] for tag, values in events.others.items()}
    for tag, taken in steps.items():
        assert all(a < b for a, b in itertools.pairwise(taken)), tag


def test_numbers_of_the_search_follow_from_the_history(run_and_events):
    run, events = run_and_events
    history = pd.DataFrame([episode.to_json() for episode in run.history])
    history["mean"] = history["reward"].rolling(16, min_periods=1).mean()
    history["best"] = history["reward"].cummax()
    history["failed"] = (history["status"] != "ok").cumsum()
    evaluated = history[history["key"].notna()].reset_index(drop=True)
    evaluated.index += 1
    known = evaluated["key"].duplicated()
    expected = {
        "nas/reward": evaluated["reward"],
        "nas/val_acc": evaluated["accuracy"],
        "nas/best_val_acc": evaluated["accuracy"].cummax(),
        "nas/best_reward": evaluated["best"],
        "nas/mean_reward": evaluated["mean"],
        "nas/unique_evals": (~known).cumsum(),
        "nas/answers_from_store": known.cumsum(),
        "nas/cache_hit_rate": known.cumsum() / evaluated.index,
        "nas/val_acc_epoch/1": evaluated["accuracy"][~known],
    }
    for tag, values in expected.items():
        assert_series(events.scalars[tag], values.to_dict())
    failures = evaluated["failed"].to_dict()
    left = int(history["failed"].iloc[-1])
    if left > evaluated["failed"].iloc[-1]:  # after the last evaluation
        failures[len(evaluated) + 1] = left
    assert_series(events.scalars["nas/failures/all"], failures)


def test_illegal_actions_are_counted(unmasked):
    run, events = unmasked
    count = sum(episode.status == "illegal_action" for episode in run.history)
    assert count > 10
    assert events.scalars["nas/failures/illegal_action"].iloc[-1] == count
    shares = {step: float((rows["flags"] & 8 > 0).mean()) for step, rows in rollouts(run)}
    assert_series(events.scalars["policy/illegal_share"], shares)


def test_the_policy_is_that_of_the_log(masked):
    run, events = masked
    assert len(rollouts(run)) > 3
    steps = run.decisions["step"].unique()
    assert set(steps) == {int(tag[len("policy/entropy/step") :]) for tag in events.scalars if "entropy/step" in tag}
    for step in steps:
        means = {end: free(rows)[free(rows)["step"] == step]["entropy"].mean() for end, rows in rollouts(run)}
        known = {end: mean for end, mean in means.items() if not np.isnan(mean)}
        assert_series(events.scalars[f"policy/entropy/step{step}"], known)
    close = {end: (free(r)["entropy"] >= 0.95 * np.log(free(r)["n_valid"])).mean() for end, r in rollouts(run)}
    assert_series(events.scalars["policy/close_to_chance"], close)
    assert "policy/illegal_share" not in events.scalars


def test_explanations_are_those_of_the_log(masked):
    run, events = masked
    expected: dict[str, dict[int, float]] = {}
    for end, rows in rollouts(run):
        explained = free(rows[rows["phi"].notna()])
        for group, value in zip(run.header.groups, phis(explained).abs().mean(), strict=True):
            expected.setdefault(f"xai/mean_abs_attr/{group}", {})[end] = value
        prior = (explained["phi0"] - explained["log_uniform"]).mean()
        expected.setdefault("xai/prior_preference", {})[end] = prior
        expected.setdefault("xai/additivity_residual_max", {})[end] = explained["residual"].max()
        expected.setdefault("xai/logp_error_max", {})[end] = rows["logp_error"].max()
    for tag, values in expected.items():
        assert_series(events.scalars[tag], values)
    assert events.scalars["xai/overhead_share"].between(0, 1).all()


def test_forced_and_unexplained_decisions_are_left_out(tmp_path):
    one = Decision(
        episode=0, step=1, global_step=0, slot=1, observation=np.array([2, 0, 0], np.uint8), action=0,
        legal=np.array([True, True]), log_uniform=-np.log(2), logp=-0.4, phi0=-0.5, phi=np.array([0.1, 0.0, 0.0]),
        entropy=0.6, residual=1e-7, logp_error=1e-8, flags=0,
    )  # fmt: skip
    forced = replace(one, global_step=1, log_uniform=0.0, entropy=0.0, phi=np.zeros(3), flags=FORCED)
    unexplained = replace(one, global_step=2, entropy=0.8, phi=None, phi0=None, residual=None, flags=UNEXPLAINED)
    custom = replace(one, step=2, global_step=3, phi=np.array([0.1, -0.3]), observation=np.array([1, 1], np.uint8))
    writer = TensorBoardWriter(tmp_path, space=ChainSpace((1, 8, 8), 10, max_layers=2), settings={})
    writer.rollout([one, forced, unexplained], 0.0)
    writer.rollout([custom], 0.0)
    writer.close()
    found = Events(tmp_path).scalars
    assert_series(found["policy/entropy/step1"], {3: 0.7})
    assert_series(found["xai/mean_abs_attr/activation"], {3: 0.1})
    assert_series(found["xai/prior_preference"], {3: np.log(2) - 0.5, 4: np.log(2) - 0.5})
    assert_series(found["xai/mean_abs_attr/group 1"], {4: 0.3})  # an encoder whose groups are not the slots


def test_histograms_count_what_the_log_has(masked):
    run, events = masked
    for step in run.decisions["step"].unique():
        for end, value in events.others[f"actions/step{step}"]:
            rows = dict(rollouts(run))[end]
            taken = rows[rows["step"] == step]["action"]
            assert (value.num, value.min, value.max, value.sum) == (len(taken), taken.min(), taken.max(), taken.sum())
            counts = dict(zip(np.array(value.bucket_limit) - 0.5, value.bucket, strict=True))
            assert {a: c for a, c in counts.items() if c} == taken.value_counts().to_dict()
    for place, group in enumerate(run.header.groups[:-1]):
        for end, value in events.others[f"xai/attr/{group}"]:
            rows = free(dict(rollouts(run))[end])
            decided = rows[[observation[place] > 0 for observation in rows["observation"]]]
            assert value.num == len(decided)
            assert value.sum == pytest.approx(phis(decided)[place].sum(), abs=1e-4)


def test_actions_without_a_policy(policy_free):
    run, events = policy_free
    assert not [tag for tag in (*events.scalars, *events.others) if re.match("policy|xai|train|rollout|best_d", tag)]
    found = [tag for tag in events.others if tag.startswith("actions/step")]
    counted = sum(value.num for tag in found for _, value in events.others[tag])
    assert counted == len(run.decisions)
    assert [step for step, _ in events.others["actions/step0"]][-1] == run.decisions["global_step"].max() + 1


def test_curves_of_the_best_have_epochs_as_steps(tmp_path):
    writer = TensorBoardWriter(tmp_path, space=SPACE, settings={})
    curves = {"a": (0.2, 0.5), "b": (0.1, 0.4, 0.45), "c": (0.3, 0.6, 0.7), "d": (0.6, 0.65, 0.7)}
    for number, (key, curve) in enumerate([*curves.items(), ("c", curves["c"])]):
        evaluation = Evaluation(key=key, accuracy=curve[-1], curve=curve)
        writer.episode(Episode(number, (), (), key, "ok", curve[-1], curve[-1]), evaluation, from_store=int(number > 3))
    writer.close()
    events = Events(tmp_path)
    assert {tag for tag in events.scalars if tag.startswith("curves/")} == {
        f"curves/evaluation_0000{n}" for n in (1, 3)
    }
    assert_series(events.scalars["curves/evaluation_00003"], {1: 0.3, 2: 0.6, 3: 0.7})
    assert_series(events.scalars["nas/val_acc_epoch/2"], {1: 0.5, 2: 0.4, 3: 0.6, 4: 0.65})
    assert "nas/val_acc_epoch/3" not in events.scalars
    assert_series(events.scalars["nas/unique_evals"], {1: 1, 2: 2, 3: 3, 4: 4, 5: 4})


def test_failures_are_counted_by_kind(tmp_path):
    writer = TensorBoardWriter(tmp_path, space=SPACE, settings={})
    statuses = ["diverged", "illegal_action", "illegal_action", "ok", "timeout", "diverged", "illegal_action"]
    for number, status in enumerate(statuses):
        accuracy = 0.5 if status == "ok" else None
        evaluation = (
            None if status == "illegal_action" else Evaluation(key=str(number), status=status, accuracy=accuracy)
        )
        reward = {"ok": 0.5, "illegal_action": -1.0}.get(status, 0.0)
        writer.episode(Episode(number, (), (), None, status, reward, accuracy), evaluation, from_store=0)
    writer.close()
    events = Events(tmp_path)
    assert_series(events.scalars["nas/failures/all"], {1: 1, 2: 3, 3: 4, 4: 5})
    assert_series(events.scalars["nas/failures/diverged"], {1: 1, 2: 1, 3: 1, 4: 2})
    assert_series(events.scalars["nas/failures/illegal_action"], {2: 2, 3: 2, 4: 2})
    assert_series(events.scalars["nas/failures/timeout"], {3: 1, 4: 1})
    assert_series(events.scalars["nas/val_acc"], {2: 0.5})
    assert_series(events.scalars["nas/mean_reward"], {1: 0.0, 2: -1.5 / 4, 3: -1.5 / 5, 4: -1.5 / 6})


def test_hparams_show_settings_and_metrics(masked):
    run, events = masked
    accumulated = events.all
    content = {
        tag: accumulated.SummaryMetadata(tag).plugin_data.content
        for tag in (hparams.SESSION_START_INFO_TAG, hparams.EXPERIMENT_TAG, hparams.SESSION_END_INFO_TAG)
    }
    start = hparams.parse_session_start_info_plugin_data(content[hparams.SESSION_START_INFO_TAG]).hparams
    assert start["agent"].string_value == run.settings["agent"]
    assert start["evaluations"].number_value == run.settings["evaluations"]
    assert start["agent_args.n_steps"].number_value == 32
    assert start["explain"].string_value == "budget"
    experiment = hparams.parse_experiment_plugin_data(content[hparams.EXPERIMENT_TAG])
    assert {metric.name.tag for metric in experiment.metric_infos} <= set(events.scalars)
    assert {info.name for info in experiment.hparam_infos} == set(start)
    assert content[hparams.SESSION_END_INFO_TAG]


def test_the_best_is_shown_in_words_and_pictures(masked):
    run, events = masked
    (best,) = run.best(1)
    ((step, table),) = events.others["best/table"]
    assert step == run.settings["evaluations"]
    assert all(f"| {slot} | {choice} |" in table.decode() for slot, choice in best.choices)
    assert f"{best.evaluation.accuracy:.4f}" in table.decode()
    assert events.others["best/account"][0][1].decode() == "\n\n".join(run.explanation())
    mine = free(run.decisions[run.decisions["episode"] == best.episode])
    slots = [run.header.slots[slot] for slot in mine["slot"]]
    drawn = [tag for tag in events.others if tag.startswith("best_decisions/")]
    assert drawn == [f"best_decisions/{place:02d} {slot}" for place, slot in enumerate(slots, start=1)]
    assert [step for step, _ in events.others["policy/action_probabilities"]][-1] == rollouts(run)[-1][0]


def test_stable_baselines_numbers_keep_their_names(masked, tmp_path):
    run, events = masked
    ends = [end for end, _ in rollouts(run)]
    assert set(events.scalars["rollout/ep_rew_mean"].index) <= set(ends)
    assert {"train/loss", "train/explained_variance", "train/approx_kl"} <= set(events.scalars)
    assert not [tag for tag in events.scalars if tag.startswith("time/")]
    writer = TensorBoardWriter(tmp_path, space=SPACE, settings={})
    with pytest.raises(FormatUnsupportedError):
        writer.write({"picture": object()}, {"picture": ()}, 1)
    writer.close()


def test_equal_searches_write_equal_events(masked, tmp_path):
    _, events = masked
    _, again = searched(tmp_path, "maskable-ppo", agent_args={"n_steps": 32, "batch_size": 16})
    assert set(events.scalars) == set(again.scalars)
    for tag in set(events.scalars) - CLOCKS:
        pd.testing.assert_series_equal(events.scalars[tag], again.scalars[tag], check_exact=True)
    assert events.others == again.others


def test_a_closed_writer_goes_on_where_its_folder_went(tmp_path):
    writer = TensorBoardWriter(tmp_path / "before", space=SPACE, settings={"seed": 1})
    for number in range(4):
        episode = Episode(number, (), (), str(number), "ok", 0.5, 0.5)
        writer.episode(episode, Evaluation(key=str(number), accuracy=0.5, curve=(0.5,)), from_store=0)
        if number == 1:
            writer.close()
            (tmp_path / "before").rename(tmp_path / "after")
            writer.reopen(tmp_path / "after")
    writer.close()
    writer.close()
    assert list(Events(tmp_path / "after").scalars["nas/reward"].index) == [1, 2, 3, 4]
    assert not (tmp_path / "before").exists()


def test_every_tag_is_documented_and_every_documented_tag_is_written(masked, unmasked, policy_free):
    rows = re.findall(r"^\| (`[^|]+`) \| (?:scalar|image|text|histogram|tab),", DOCUMENT.read_text(), re.MULTILINE)
    documented = [tag for row in rows for tag in re.findall(r"`([^`]+)`", row)]
    patterns = {tag: re.sub(r"<\w+>|…", ".+", re.escape(tag).replace(r"\ ", " ")) for tag in documented}
    written = {tag for _, events in (masked, unmasked, policy_free) for tag in (*events.scalars, *events.others)}
    written -= {tag for tag in written if tag.startswith("_hparams_")}
    undocumented = {tag for tag in written if not any(re.fullmatch(pattern, tag) for pattern in patterns.values())}
    assert not undocumented
    del patterns["nas/index/<n>"]  # one for every hundred episodes: more than there are here
    assert not [tag for tag, pattern in patterns.items() if not any(re.fullmatch(pattern, w) for w in written)]
