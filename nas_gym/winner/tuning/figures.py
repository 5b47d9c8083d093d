"""Optuna's own pictures of a tuning, by its matplotlib backend."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_gym.winner.tuning.importance import evaluator_for, ranked_study
from nas_gym.winner.tuning.space import Range, Space
from nas_gym.winner.tuning.trials import Trial

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure

FILES = ("history.png", "importances.png", "slice.png", "parallel.png")
_BLUE, _GREY, _INK = "#0072b2", "#9aa5b1", "#1f2933"
_AXES = {"Objective Value": "validation accuracy"}


def draw(
    place: Path, space: Space, broad: Sequence[Trial], narrow: Sequence[Trial], important: Collection[str]
) -> None:
    """Draw history, importances, slices and parallel coordinates into files; call it where Optuna is quiet.

    Args:
        place: Folder of the files.
        space: Of the first stage.
        broad: Its trials.
        narrow: Those of the second stage.
        important: Names of the hyper-parameters that matter.
    """
    from optuna.visualization import matplotlib as plots

    both = joint_study(space, [*broad, *narrow])
    with _pyplot() as plt:
        _save(plt, _history(plots.plot_optimization_history(both), len(broad)), place / FILES[0])
        chart = plots.plot_param_importances(ranked_study(space, broad), evaluator=evaluator_for(len(broad)))
        _save(plt, _importances(chart, len(broad), important), place / FILES[1])
        _save(plt, _slices(plots.plot_slice(both, params=list(space.free)), space), place / FILES[2])
        _save(plt, _parallel(plots.plot_parallel_coordinate(both, params=list(space.free))), place / FILES[3])


def joint_study(space: Space, trials: Sequence[Trial]) -> "optuna.study.Study":
    """Return a study in memory of both stages' trials, all with values of all hyper-parameters."""
    import optuna
    from optuna.trial import TrialState, create_trial

    study = optuna.create_study(direction="maximize")
    for trial in trials:
        study.add_trial(
            create_trial(
                state=TrialState.PRUNED if trial.pruned else TrialState.COMPLETE,
                value=None if trial.pruned else trial.score,
                params={name: trial.values[name] for name in space.free},
                distributions=space.distributions(),
                intermediate_values=dict(enumerate(trial.curve, 1)),
            )
        )
    return study


@contextmanager
def _pyplot() -> Iterator[Any]:
    """Yield pyplot; Optuna's change of style ends with the block."""
    import matplotlib.pyplot as plt

    with plt.rc_context():
        yield plt


def _save(plt: Any, figure: "Figure", file: Path) -> None:
    figure.savefig(file, dpi=110, bbox_inches="tight")
    plt.close(figure)


def _history(axes: Any, n_broad: int) -> "Figure":
    figure: Figure = axes.figure
    figure.set_size_inches(8, 4)
    axes.axvline(n_broad - 0.5, color=_INK, linestyle=":", linewidth=1.2)
    handles, _ = axes.get_legend_handles_labels()
    axes.legend([*handles, axes.lines[-1]], ["complete trial", "best so far", "second stage begins"], loc="lower right")
    axes.set(xlabel="trial, pruned ones counted", ylabel="validation accuracy", title="Complete trials of both stages")
    return figure


def _importances(axes: Any, n: int, important: Collection[str]) -> "Figure":
    figure: Figure = axes.figure
    figure.set_size_inches(7, 4)
    names = [label.get_text() for label in axes.get_yticklabels()]
    for name, bar in zip(names, axes.patches, strict=False):
        bar.set_facecolor(_BLUE if name in important else _GREY)
    axes.legend([_patch(_BLUE), _patch(_GREY)], ["important", "not important"], loc="lower right")
    axes.set_title("", loc="left")
    axes.set_title(f"Where the best of {n} broad trials differ from all")
    axes.set(xlabel="share of all importance (PED-ANOVA)", ylabel="")
    return figure


def _patch(colour: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=colour)


def _slices(axes: Any, space: Space) -> "Figure":
    many = list(axes.flat) if hasattr(axes, "flat") else [axes]
    figure: Figure = many[0].figure
    figure.set_size_inches(2.2 * len(many) + 1, 3.6)
    figure.suptitle("Validation accuracy of complete trials by each hyper-parameter, the later the darker")
    many[0].set_ylabel("validation accuracy")
    for one in many:
        if _is_whole(space, one.get_xlabel()):
            one.xaxis.get_major_locator().set_params(integer=True)
        one.set_xlabel(one.get_xlabel().replace("_", " "))
    return figure


def _parallel(axes: Any) -> "Figure":
    figure: Figure = axes.figure
    figure.set_size_inches(11, 5)
    axes.set_title("Complete trials, a line each: the darker, the higher the accuracy", pad=14)
    names = [label.get_text() for label in axes.get_xticklabels()]
    axes.set_xticks(axes.get_xticks(), [_AXES.get(name, name.replace("_", " ")) for name in names])
    for one in figure.axes:
        one.grid(visible=False)
        one.tick_params(labelsize=9)
        for label in one.get_yticklabels():
            label.set_bbox({"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.6})
        if one.get_ylabel() in _AXES:
            one.set_ylabel(_AXES[one.get_ylabel()])
    return figure


def _is_whole(space: Space, name: str) -> bool:
    domain = space.free.get(name)
    return isinstance(domain, Range) and domain.whole and not domain.log
