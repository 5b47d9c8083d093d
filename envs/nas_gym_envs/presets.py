"""The environment ids: rows of data, and the function that makes an environment of a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from gymnasium.vector import AutoresetMode

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import (
    FULL,
    AtFidelity,
    ConstantEvaluator,
    Evaluator,
    Fidelity,
    HashEvaluator,
    Recipe,
    Repeated,
    StoredEvaluator,
    SuccessiveHalving,
)
from nas_gym.objective import Objective, Proxy, VectorObjective, named_objective
from nas_gym.operations import Number, Shape
from nas_gym.registration import CHAIN
from nas_gym.spaces import ChainSpace, Layer, Limits, default_catalogue
from nas_gym.store import ResultStore
from nas_gym_envs.architecture_env import ArchitectureEnv
from nas_gym_envs.fitting import check_objective, inside
from nas_gym_envs.vector_env import ArchitectureVectorEnv


@dataclass(frozen=True)
class Preset:
    """One row: what an id stands for.

    Attributes:
        dataset: Name for `nas_gym.data.load_dataset`; empty: the user names one.
        input_shape: Of one sample.
        n_classes: Of the data set.
        limits: Of the space.
        recipe: Fields of the recipe that differ from its defaults.
        widths: Of the default catalogue.
    """

    dataset: str
    input_shape: Shape
    n_classes: int
    limits: Limits
    recipe: Mapping[str, Any]
    widths: tuple[int, int, int] = (16, 32, 64)


_SMALL_LIMITS = Limits(parameters=100_000, macs=400_000, resolution=2)
_LARGE_LIMITS = Limits(parameters=500_000, macs=5_000_000, resolution=2)
_DIGITS = {"epochs": 8, "batch_size": 64, "learning_rate": 0.2}
_GREY = {"epochs": 4, "batch_size": 64, "learning_rate": 0.2}
_PHOTOS = {"epochs": 6, "batch_size": 64, "learning_rate": 0.2, "flip": True, "crop": 2}

PRESETS: dict[str, Preset] = {
    "nas_gym/Chain-Digits-v0": Preset("digits", (1, 8, 8), 10, _SMALL_LIMITS, _DIGITS),
    "nas_gym/Chain-MNIST-v0": Preset("MNIST", (1, 28, 28), 10, _LARGE_LIMITS, _GREY),
    "nas_gym/Chain-FashionMNIST-v0": Preset("FashionMNIST", (1, 28, 28), 10, _LARGE_LIMITS, {**_GREY, "flip": True}),
    "nas_gym/Chain-CIFAR10-v0": Preset("CIFAR10", (3, 32, 32), 10, _LARGE_LIMITS, _PHOTOS),
}

_DATA_OPTIONS = (
    "data_root",
    "download",
    "first_per_class",
    "first_test_per_class",
    "validation_share",
    "split_seed",
    "image_size",
)
_LIMIT_OPTIONS = {
    "max_parameters": "parameters",
    "max_macs": "macs",
    "min_resolution": "resolution",
    "min_layers": "min_layers",
}
_RECIPE_OPTIONS = tuple(f.name for f in fields(Recipe))
_TRAINER_OPTIONS = ("device", "evaluation_seed", "latency")
_ENV_OPTIONS = ("budget", "encoder", "illegal_reward", "render_mode")
_OPTIONS = (*_DATA_OPTIONS, *_LIMIT_OPTIONS, *_RECIPE_OPTIONS, *_TRAINER_OPTIONS, *_ENV_OPTIONS)
_PROXY_FLOOR = -1000.0  # below what the proxies of networks are
_KINDS = "'training', 'proxy:NAME', 'supernet', 'constant', 'hash'"
_ON_DATA = ("training", "proxy", "supernet")
_NAMED_OPTIONS = (
    *("dataset", "catalogue", "max_layers", "hyperparameters", "evaluator", "objective"),
    *("repeats", "fidelity", "stops", "fraction"),
)


def make_chain(
    *,
    preset: str | None = None,
    dataset: Any = None,
    catalogue: Sequence[Layer] | None = None,
    max_layers: int = 8,
    hyperparameters: Sequence[str] | Mapping[str, Sequence[Number]] = (),
    evaluator: str | Evaluator = "training",
    objective: str | Objective | VectorObjective | None = None,
    repeats: int = 1,
    fidelity: str | Fidelity = "full",
    stops: Sequence[int] = (),
    fraction: float = 1 / 3,
    **options: Any,
) -> ArchitectureEnv:
    """Return a chain environment; what ``gym.make("nas_gym/Chain-v0", …)`` calls.

    Args:
        preset: An id of `PRESETS` whose row gives the defaults.
        dataset: A name, a path or a `Dataset` (`nas_gym.data.load_dataset`); by default the preset's, else digits.
        catalogue: The layers to choose from.
        max_layers: Most layers.
        hyperparameters: Names or grids of the hyper-parameters to decide (`ChainSpace`).
        evaluator: ``"training"``; ``"constant"`` or ``"hash"``, which train nothing; ``"proxy:synflow"`` and the like
            (`ProxyEvaluator`; the proxy is the reward); ``"supernet"`` (`SupernetEvaluator`); or an `Evaluator`.
        objective: A text such as ``"soft-macs:1e6"`` (`nas_gym.objective.named_objective`), or an objective; by
            default the validation accuracy.
        repeats: Trainings of every candidate, each with its own seed; their mean is what counts (`Repeated`).
        fidelity: Cheaper evaluations, such as ``"epochs=3,data=0.25,resolution=14"`` (`AtFidelity`).
        stops: Epochs after which the best go on and the others don't (`SuccessiveHalving`); at most one of repeats,
            fidelity and stops.
        fraction: Share that goes on at a stop.
        **options: Data (data_root, download, first_per_class, first_test_per_class, validation_share, split_seed,
            image_size),
            limits (max_parameters, max_macs, min_resolution, min_layers), the recipe's fields (epochs, batch_size,
            learning_rate, …), device, evaluation_seed, latency (whether it is measured), and arguments of
            `ArchitectureEnv`.

    Raises:
        ConfigurationError: An option is unknown or out of range.
        DatasetError: The data set can't be loaded.
    """
    if preset is not None and preset not in PRESETS:
        raise ConfigurationError(f"preset is one of {', '.join(PRESETS)}, got {preset!r}")
    if unknown := sorted(set(options).difference(_OPTIONS)):
        known = ", ".join(sorted((*_NAMED_OPTIONS, *_OPTIONS)))
        raise ConfigurationError(f"unknown option {', '.join(unknown)} of the environment; known are {known}")
    row = PRESETS[preset] if preset else None
    named = _take(options, _DATA_OPTIONS)
    changed = _take(options, _LIMIT_OPTIONS)
    recipe = _take(options, _RECIPE_OPTIONS)
    trainer = _take(options, _TRAINER_OPTIONS)
    goal = named_objective(objective) if isinstance(objective, str) else objective
    if not isinstance(fidelity, Fidelity):
        fidelity = Fidelity.from_text(str(fidelity))
    kind = evaluator.partition(":")[0] if isinstance(evaluator, str) else ""
    if kind == "proxy" and goal is None:
        goal = Proxy(floor=_PROXY_FLOOR)
    data = None
    if kind in _ON_DATA or row is None or dataset is not None:
        from nas_gym.data import load_dataset

        data = load_dataset(dataset if dataset is not None else row.dataset if row else "digits", **named)
    if row is None or dataset is not None:
        assert data is not None, "loaded above"
        row = default_row(data.name, data.input_shape, data.n_classes)
    limits = {f.name: getattr(row.limits, f.name) for f in fields(Limits)}
    limits.update({_LIMIT_OPTIONS[name]: value for name, value in changed.items()})
    space = ChainSpace(
        row.input_shape,
        row.n_classes,
        catalogue=default_catalogue(row.widths) if catalogue is None else catalogue,
        max_layers=max_layers,
        limits=Limits(**limits),
        hyperparameters=hyperparameters,
    )
    Recipe(**{**row.recipe, **recipe})  # a mistake in it is one whatever evaluates
    made = _make_evaluator(evaluator, data, row.recipe, recipe, trainer, space)
    check_objective(objective, goal, kind, inside(made))
    how = {"repeats": repeats, "fidelity": fidelity, "stops": stops}
    asked = [name for name, plain in (("repeats", 1), ("fidelity", FULL), ("stops", ())) if how[name] != plain]
    if asked and (kind != "training" or len(asked) > 1):
        raise ConfigurationError(
            f"at most one of repeats, fidelity and stops, and only for evaluator='training'; got {', '.join(asked)}"
        )
    if "repeats" in asked:
        made = Repeated(made, repeats)
    elif "fidelity" in asked:
        inside(made).check_fidelity(fidelity, epochs_decided="epochs" in space.hyperparameters)
        made = AtFidelity(made, fidelity)
    elif "stops" in asked:
        made = _halving(made, stops, fraction)
    return ArchitectureEnv(space, made, goal, **options)


def make_vector_chain(
    *, num_envs: int = 1, autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP, **options: Any
) -> ArchitectureVectorEnv:
    """Return many chain environments as one; what ``gym.make_vec("nas_gym/Chain-v0", num_envs=…, …)`` calls.

    Args:
        num_envs: Number of sub-environments.
        autoreset_mode: When one that ended starts anew (`ArchitectureVectorEnv`).
        **options: Of `make_chain`.
    """
    return ArchitectureVectorEnv.like(make_chain(**options), num_envs=num_envs, autoreset_mode=autoreset_mode)


def described() -> list[dict[str, str]]:
    """Return a row per id: the id and what it stands for."""
    from nas_gym_envs import tabular

    rows: list[dict[str, str]] = [{"id": CHAIN, "description": "any data set: --env-arg dataset=NAME_OR_PATH"}]
    for env_id, row in PRESETS.items():
        shape = "×".join(map(str, row.input_shape))
        meaning = f"{row.dataset}, {shape}, {row.n_classes} classes; up to {row.limits.macs:,} MACs"
        rows.append({"id": env_id, "description": meaning})
    return [*rows, *tabular.described()]


def default_row(dataset: str, input_shape: Shape, n_classes: int) -> Preset:
    """Return the defaults for any data set: those of the preset of its name, else by the size of a sample."""
    for row in PRESETS.values():
        if row.dataset == dataset and (row.input_shape, row.n_classes) == (input_shape, n_classes):
            return row
    if max(input_shape[1:]) <= 12:
        return Preset(dataset, input_shape, n_classes, _SMALL_LIMITS, _DIGITS)
    return Preset(dataset, input_shape, n_classes, _LARGE_LIMITS, _PHOTOS if input_shape[0] == 3 else _GREY)


def _take(options: dict[str, Any], names: Sequence[str] | dict[str, str]) -> dict[str, Any]:
    return {name: options.pop(name) for name in names if name in options}


def _halving(stored: Evaluator, stops: Any, fraction: float) -> SuccessiveHalving:
    halving = SuccessiveHalving(stored, tuple(stops) if isinstance(stops, Sequence) else (stops,), fraction)
    epochs = inside(stored).recipe.epochs
    if halving.stops[-1] > epochs:
        raise ConfigurationError(f"stops lie within the {epochs} epochs of a training, got {stops}")
    return halving


def _placed(trainer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in trainer.items() if name in ("device", "evaluation_seed")}


def _make_evaluator(
    evaluator: str | Evaluator,
    data: Any,
    defaults: Mapping[str, Any],
    recipe: dict[str, Any],
    trainer: dict[str, Any],
    space: ChainSpace,
) -> Evaluator:
    if not isinstance(evaluator, str):
        if not hasattr(evaluator, "submit"):
            raise ConfigurationError(f"evaluator is {_KINDS} or an Evaluator, got {evaluator!r}")
        return evaluator
    kind, _, proxy = evaluator.partition(":")
    if evaluator == "constant":
        return ConstantEvaluator()
    if evaluator == "hash":
        return HashEvaluator()
    made: Evaluator
    if evaluator == "training":
        from nas_gym.evaluation.training import TrainingEvaluator

        made = TrainingEvaluator(data, Recipe(**{**defaults, **recipe}), **trainer)
    elif kind == "proxy":
        from nas_gym.evaluation import ProxyEvaluator

        made = ProxyEvaluator(data, proxy, **_placed(trainer))
    elif evaluator == "supernet":
        from nas_gym.evaluation.weight_sharing.evaluator import SUPERNET_RECIPE, SupernetEvaluator

        made = SupernetEvaluator(data, space, replace(SUPERNET_RECIPE, **recipe), **_placed(trainer))
    else:
        raise ConfigurationError(f"evaluator is {_KINDS} or an Evaluator, got {evaluator!r}")
    return StoredEvaluator(made, ResultStore(), namespace=space.name)
