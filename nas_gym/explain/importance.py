"""What mattered in a whole search: the importance of its slots, and what goes with high rewards."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas_gym.errors import ConfigurationError
from nas_gym.explain.ablation import AblationPath, Values, ablation_path, complete, only_legal
from nas_gym.explain.advice import advise
from nas_gym.explain.archive import Archive, archive, archive_of_table
from nas_gym.explain.archive_surrogate import Fitted, fit, permutation_importance
from nas_gym.explain.importance_record import Attributions, Importance
from nas_gym.explain.motifs import motifs
from nas_gym.explain.random_architectures import Sample, prefix_of, representative
from nas_gym.explain.record import write_atomically
from nas_gym.explain.variance_shares import VarianceShares, variance_shares
from nas_gym.spaces.space import SearchSpace

if TYPE_CHECKING:
    from nas_gym.run import Run
    from nas_gym.tables.benchmark import BenchmarkTable

IMPORTANCE = "importance.json"
PICTURES = ("importance", "beeswarm", "dependence", "ablation", "motifs")
MOST_ATTRIBUTED = 1_000
ACCURACY = "accuracy"
SURROGATE, TABLE = "surrogate", "table"


def importance_of_run(
    run: "Run", *, space: SearchSpace | None = None, table: "BenchmarkTable | None" = None, seed: int = 0
) -> Importance:
    """Return what mattered in a run, finished or not.

    Args:
        run: The run (`nas_gym.load`).
        space: Its space, by which random architectures are drawn and legality is known; None: the table's, or without
            a table what the archive shows.
        table: A table of the whole space, as the reference: what is averaged then is averaged over its rows. It is left
            out where the objective is not the accuracy.
        seed: Of everything drawn.

    Raises:
        RunError: The run's results can't be read.
        ConfigurationError: Space or table have other slots than the run.
    """
    fidelity = run.content.get("fidelity")
    return importance(archive(run), space=space, table=table, fidelity=fidelity, seed=seed)


def importance(
    found: Archive,
    *,
    space: SearchSpace | None = None,
    table: "BenchmarkTable | None" = None,
    fidelity: str | None = None,
    seed: int = 0,
) -> Importance:
    """Return what an archive says; see `importance_of_run`.

    Args:
        found: The archive.
        space: Its space.
        table: A table of the whole space.
        fidelity: At which the table is read; None, or one it does not have: its default.
        seed: Of everything drawn.
    """
    notes = []
    if table is not None and found.objective != ACCURACY:
        notes.append(f"The table is not used: it tells accuracies, and the objective was {found.objective}.")
    elif table is not None:
        space = space or table.space()
    for slots in (None if space is None else space.slots, None if table is None else table.slots):
        if slots is not None and slots != found.slots:
            raise ConfigurationError("the space or the table has other slots than the run; pass those it searched")
    whole = None
    if table is not None and found.objective == ACCURACY:
        whole = archive_of_table(table, fidelity if fidelity in table.accuracies else None)
    if space is None and len(found):
        notes.append("The space was not at hand: what is legal is judged by the networks of the search alone.")
    fitted = fit(found, seed)
    if fitted is None:
        notes.append("There is no surrogate: it needs 10 networks with different rewards.")
    sample = representative(found, space, seed) if whole is None else _every(whole)
    return Importance(
        found,
        seed,
        None if fitted is None else fitted.trust,
        () if fitted is None else permutation_importance(found, fitted, seed),
        None if fitted is None else _of_surrogate(fitted, sample),
        None if whole is None else _of_table(whole),
        None if fitted is None else _attributions(found, fitted, seed),
        _path(found, space, fitted, whole),
        motifs(found),
        advise(found),
        tuple(notes),
    )


def _every(whole: Archive) -> Sample:
    possible = float(np.prod([len(slot.choices) for slot in whole.slots], dtype=np.float64))
    full = len(whole) == possible
    words = f"all {len(whole):,} {'lists of choices' if full else 'networks of the table'}"
    return Sample(whole.decisions, full, False, words)


def _of_surrogate(fitted: Fitted, sample: Sample) -> VarianceShares:
    return variance_shares(sample, fitted.predict(sample.decisions), SURROGATE)


def _of_table(whole: Archive) -> VarianceShares:
    return variance_shares(_every(whole), whole.rewards, TABLE)


def _attributions(found: Archive, fitted: Fitted, seed: int) -> Attributions:
    rows = np.arange(len(found), dtype=np.int64)
    if len(rows) > MOST_ATTRIBUTED:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MOST_ATTRIBUTED, replace=False))
    values, start = fitted.model.attributions(found.decisions[rows])
    return Attributions(rows, values, start)


def _path(
    found: Archive, space: SearchSpace | None, fitted: Fitted | None, whole: Archive | None
) -> AblationPath | None:
    """Return the path from the median network to the best, by the table where there is one, else by the surrogate."""
    if len(found) < 2 or found.best == found.median:
        return None
    if whole is not None and space is not None:
        values, source = _looked_up(whole, space), "looked up in the table"
    elif fitted is not None:
        legal = complete if space is None else _legal(space)
        values, source = only_legal(fitted.predict, legal), "predicted by the surrogate"
    else:
        return None
    start, goal = found.decisions[found.median], found.decisions[found.best]
    words = f"the median network of the search (episode {int(found.episodes[found.median])})"
    return ablation_path(start, goal, values, choice=found.choice, names=found.names, words=words, source=source)


def _legal(space: SearchSpace) -> Callable[[NDArray[np.int16]], bool]:
    return lambda row: prefix_of(space, row) is not None


def _looked_up(whole: Archive, space: SearchSpace) -> Values:
    rows = {key: row for row, key in enumerate(whole.keys)}

    def values(decisions: NDArray[np.int16]) -> NDArray[np.float64]:
        found = np.full(len(decisions), np.nan)
        for i, row in enumerate(decisions):
            prefix = prefix_of(space, row)
            if prefix is not None and (place := rows.get(space.candidate(prefix).key)) is not None:
                found[i] = whole.rewards[place]
        return found

    return values


def write(
    run_dir: str | Path, *, space: SearchSpace | None = None, table: "BenchmarkTable | None" = None, seed: int = 0
) -> Importance:
    """Compute what mattered in a run and write it into ``RUN/explanations``: ``importance.json`` and figures.

    Every file is written whole or not at all; figures that no longer have anything to show are removed. Of a run on a
    table, the table is found by itself if it is installed.

    Args:
        run_dir: The run directory.
        space: As in `importance_of_run`.
        table: As in `importance_of_run`.
        seed: Of everything drawn.

    Raises:
        RunError: It is no run, or its results can't be read.
        ConfigurationError: Space or table have other slots than the run.
    """
    from matplotlib import rc_context

    from nas_gym.explain.importance_figures import figures
    from nas_gym.explain.pictures import png
    from nas_gym.run import Run
    from nas_gym.run_directory import EXPLANATIONS

    run = Run(run_dir)
    if table is None and space is None:
        table = table_of(run)
    found = importance_of_run(run, space=space, table=table, seed=seed)
    folder = run.path / EXPLANATIONS
    folder.mkdir(exist_ok=True)
    with rc_context({"text.parse_math": False}):  # names are names, also between dollars
        drawn = {name: png(figure) for name, figure in figures(found).items()}
    for name in PICTURES:
        place = folder / f"{name}.png"
        if name in drawn:
            unfinished = place.with_suffix(".png.tmp")
            unfinished.write_bytes(drawn[name])
            unfinished.replace(place)
        else:
            place.unlink(missing_ok=True)
    write_atomically(folder / IMPORTANCE, json.dumps(found.to_json(), ensure_ascii=False))
    return found


def read(run_dir: str | Path) -> Importance | None:
    """Return what `write` wrote into a run directory; None where it was not called.

    Raises:
        ConfigurationError: The file is damaged.
    """
    from nas_gym.run_directory import EXPLANATIONS

    place = Path(run_dir) / EXPLANATIONS / IMPORTANCE
    if not place.is_file():
        return None
    try:
        return Importance.from_json(json.loads(place.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ConfigurationError(f"{str(place)!r} is damaged ({error}); write it again: nas-gym explain") from None


def table_of(run: "Run") -> "BenchmarkTable | None":
    """Return the table that a run took its numbers from; None if it took them from none, or it is not installed."""
    from nas_gym.registration import TABLE_IDS
    from nas_gym.tables.home import load_benchmark

    name = TABLE_IDS.get(run.settings.get("env", ""))
    if name is None or " tabular/" not in run.content["namespace"]:
        return None
    try:
        return load_benchmark(name)
    except ConfigurationError:
        return None
