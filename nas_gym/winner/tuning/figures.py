"""Optuna's own pictures of a tuning, by its matplotlib backend."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_gym.winner.tuning.importance import evaluator_for, ranked_study
from nas_gym.winner.tuning.space import Space
from nas_gym.winner.tuning.trials import Trial

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure

FILES = ("history.png", "importances.png", "slice.png", "parallel.png")


def draw(place: Path, space: Space, broad: Sequence[Trial], narrow: Sequence[Trial]) -> None:
    """Draw history, importances, slices and parallel coordinates into files; call it where Optuna is quiet.

    Args:
        place: Folder of the files.
        space: Of the first stage.
        broad: Its trials.
        narrow: Those of the second stage.
    """
    from optuna.visualization import matplotlib as plots

    both = joint_study(space, [*broad, *narrow])
    with _pyplot() as plt:
        _save(plt, _history(plots.plot_optimization_history(both), len(broad)), place / FILES[0])
        chart = plots.plot_param_importances(ranked_study(space, broad), evaluator=evaluator_for(len(broad)))
        _save(plt, _importances(chart, len(broad)), place / FILES[1])
        _save(plt, _slices(plots.plot_slice(both, params=list(space.free))), place / FILES[2])
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
    axes.axvline(n_broad - 0.5, color="#1f2933", linestyle=":", linewidth=1.2, label="Second stage begins")
    axes.set(xlabel="trial", ylabel="validation accuracy", title="Complete trials of both stages")
    axes.legend(loc="lower right")
    return figure


def _importances(axes: Any, n: int) -> "Figure":
    figure: Figure = axes.figure
    figure.set_size_inches(7, 4)
    axes.set(
        xlabel="share of all importance (PED-ANOVA)",
        ylabel="",
        title=f"What the best of {n} broad trials have in common",
    )
    return figure


def _slices(axes: Any) -> "Figure":
    many = list(axes.flat) if hasattr(axes, "flat") else [axes]
    figure: Figure = many[0].figure
    figure.set_size_inches(2.6 * len(many) + 1, 3.6)
    figure.suptitle("Validation accuracy of complete trials by each hyper-parameter")
    many[0].set_ylabel("validation accuracy")
    return figure


def _parallel(axes: Any) -> "Figure":
    figure: Figure = axes.figure
    figure.set_size_inches(11, 5)
    axes.set_title("Complete trials: a line each, dark where the accuracy is high")
    return figure
