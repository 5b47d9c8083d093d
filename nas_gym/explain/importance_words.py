"""What mattered in a search, in words: a few sentences and small tables, in Markdown that a terminal shows as well."""

from collections.abc import Callable, Sequence

from nas_gym.document import markdown_row
from nas_gym.explain.advice import DROP, Advice, Item
from nas_gym.explain.archive_surrogate import FEWEST_RELIABLE, LEAST_RANK_CORRELATION, Trust
from nas_gym.explain.importance_record import Importance
from nas_gym.explain.motifs import Motif

MOST_PAIRS, MOST_MOTIFS = 3, 6
LIMIT = (
    "All of this describes the rewards of the networks that this search chose to evaluate, which are no random sample "
    "of the space, and the reward is what was measured during the search, not the accuracy after a full training."
)


def importance_words(importance: Importance) -> list[str]:
    """Return paragraphs and tables, in Markdown."""
    return [
        *_opening(importance),
        *_slots(importance),
        *_pairs(importance),
        *_path(importance),
        *_motifs(importance),
        *advice_words(importance.advice, importance.archive.told),
        *importance.notes,
        LIMIT,
    ]


def trust_words(trust: Trust | None) -> str:
    """Return how far the surrogate can be relied on."""
    if trust is None:
        return "No surrogate of the reward could be fitted, so that nothing is said of importance."
    facts = (
        f"rank correlation {trust.rank_correlation:.2f} with networks it was not fitted to, error {trust.error:.3g} "
        f"where always saying the mean has {trust.deviation:.3g}"
    )
    if trust.reliable:
        return f"The surrogate, a model of the reward (boosted trees on {trust.n} networks), has a {facts}."
    needed = []
    if trust.n < FEWEST_RELIABLE:
        needed.append(f"at least {FEWEST_RELIABLE} networks")
    if trust.rank_correlation < LEAST_RANK_CORRELATION:
        needed.append(f"a correlation of at least {LEAST_RANK_CORRELATION}")
    return (
        f"The surrogate, a model of the reward (boosted trees on {trust.n} networks), is TOO WEAK TO RELY ON: {facts}; "
        f"{' and '.join(needed)} would be needed."
    )


def _opening(importance: Importance) -> list[str]:
    archive = importance.archive
    left_out = [
        f"{n} {words}"
        for n, words in ((archive.failed, "failed networks"), (archive.illegal, "episodes with an illegal action"))
        if n
    ]
    without = f"; left out: {' and '.join(left_out)}" if left_out else ""
    if not len(archive):
        return [f"No network was evaluated successfully, so that nothing can be said of what mattered{without}."]
    if not archive.varied:
        reward = archive.told(archive.rewards[0])
        return [f"All {len(archive)} networks have the reward {reward}: nothing mattered{without}."]
    text = (
        f"{len(archive)} distinct networks were evaluated ({archive.objective}): the best reward is "
        f"{archive.told(archive.rewards.max())}, the median {archive.told(archive.rewards[archive.median])}{without}."
    )
    if archive.less_trained:
        text += (
            f" {archive.less_trained} of them have the reward of a shorter training than the best (successive "
            "halving), which exaggerates the differences."
        )
    return [text, trust_words(importance.trust)]


def _slots(importance: Importance) -> list[str]:
    shares, reference = importance.surrogate, importance.table
    if shares is None or importance.attributions is None or not _reliable(importance):
        if reference is None:
            return []
        return [f"Of the variance over {reference.over}, decisions alone account for {_named_shares(importance)}."]
    head = ["decision", "alone (fANOVA)", "shuffled (permutation)", "mean abs. SHAP"]
    head += [] if reference is None else ["alone, in the table"]
    rows = []
    for slot in importance.order:
        mean, deviation = importance.permutation[slot]
        row = [
            importance.archive.names[slot],
            _percent(shares.main[slot]),
            f"{mean:.2f} ± {deviation:.2f}",
            importance.archive.told(importance.attributions.mean[slot]),
        ]
        rows.append(row + ([] if reference is None else [_percent(reference.main[slot])]))
    first, *_ = importance.order
    text = (
        f"The decision that mattered most is **{importance.archive.names[first]}**: alone it accounts for "
        f"{_percent(shares.main[first])} of the variance of the surrogate's rewards over {shares.over}. "
        "*Shuffled*: by how much the error on held-out networks rises, in variances of the reward, with its standard "
        "deviation over folds and shuffles. *SHAP*: how far it moves a prediction on average, in units of the reward."
    )
    if abs(shares.length) > 0.0005:
        text += (
            f" How many decisions there are accounts for {_percent(shares.length)}; what is said of a decision is what "
            "its choice adds among networks of one length."
        )
    if not shares.complete:
        text += (
            " Choices limit each other here, so that shares overlap and need not add up, and a pair's is below zero "
            "where two decisions tell the same."
        )
    return [text, _table(head, rows)]


def _reliable(importance: Importance) -> bool:
    return importance.trust is not None and importance.trust.reliable


def _named_shares(importance: Importance) -> str:
    main = () if importance.table is None else importance.table.main
    return ", ".join(f"{importance.archive.names[slot]} {_percent(main[slot])}" for slot in importance.order)


def _pairs(importance: Importance) -> list[str]:
    names = importance.archive.names
    told = []
    surrogate = importance.surrogate if _reliable(importance) else None
    for shares, where in ((surrogate, "by the surrogate"), (importance.table, "in the whole table")):
        if shares is None or len(names) < 2:
            continue
        ranked = sorted(
            ((shares.pairs[i][j], i, j) for i in range(len(names)) for j in range(i)), key=lambda pair: -pair[0]
        )
        shown = ", ".join(f"{names[j]} with {names[i]} {_percent(share)}" for share, i, j in ranked[:MOST_PAIRS])
        rest = f"; {_percent(shares.higher)} is left for larger groups" if shares.complete else ""
        told.append(f"What pairs add beyond their two decisions, {where}: {shown}{rest}.")
    return told


def _path(importance: Importance) -> list[str]:
    path = importance.path
    if path is None:
        return []
    told = importance.archive.told
    weak = "" if "surrogate" not in path.source or _reliable(importance) else ", which is too weak to rely on"
    steps = "; ".join(
        f"{' and '.join(f'{c.slot}: {c.old} → {c.new}' for c in step.changes)} ({told(step.gain, '+')})"
        for step in path.steps
    )
    return [
        f"From {path.start} to the best one, each time the change that gains most ({path.source}{weak}): "
        f"{told(path.start_value)}, then {steps}; in the end {told(path.end_value)}. This is one order of the changes "
        "of many; in another, the gains differ."
    ]


def _motifs(importance: Importance) -> list[str]:
    found = importance.motifs
    if found.note:
        return [f"Motifs: nothing can be said ({found.note})."]
    if not found.found:
        return [f"Motifs: none of {found.tested} tells the best tenth from the rest at a false discovery rate of 5 %."]
    rows = [_motif(motif, found.top, found.rest) for motif in found.found[:MOST_MOTIFS]]
    text = (
        f"{len(found.found)} of {found.tested} motifs tell the best tenth ({found.top} networks) from the rest "
        "(Fisher's exact test, q after Benjamini and Hochberg; networks of one search are not independent, so that q "
        "is too low)."
    )
    return [text, _table(["motif", "of the best tenth", "of the rest", "odds ratio", "q"], rows)]


def _motif(motif: Motif, top: int, rest: int) -> list[str]:
    shares = [f"{100 * motif.in_top / top:.0f} %", f"{100 * motif.in_rest / rest:.0f} %"]
    return [motif.words, *shares, f"{motif.odds:.3g}", f"{motif.q:.2g}"]


def advice_words(advice: Advice, told: Callable[[float], str]) -> list[str]:
    """Return the advice for the next search, each piece with its evidence in a sentence."""
    if advice.note:
        return [f"Advice for the next search: nothing can be said ({advice.note})."]
    if not advice.items:
        return [
            f"Advice for the next search: nothing can be said; none of {advice.tests} tests is clear enough to drop or "
            "to fix a choice."
        ]
    opening = (
        "Advice for the next search. The search that gave it preferred some choices, so check it on a few networks "
        "before you build on it:"
    )
    return [opening, "\n".join(f"* {item_words(item, advice, told)}" for item in advice.items)]


def item_words(item: Item, advice: Advice, told: Callable[[float], str]) -> str:
    """Return one piece of advice with its evidence."""
    where = "below" if item.kind == DROP else "above"
    inside = (
        f"none of them is among the best {advice.top} (their best: {told(item.best)})"
        if item.kind == DROP
        else f"all of the best {advice.top} have it"
    )
    return (
        f"{'Drop' if item.kind == DROP else 'Fix'} **{item.words}**: {item.n} of {advice.n} networks have it, "
        f"{inside}, their mean {told(item.mean)} (95 % interval {told(item.low)} to {told(item.high)}) lies {where} "
        f"the median {told(advice.median)}, and they rank {where} the networks evaluated around the same time "
        f"(p = {item.p:.1g}, {0.05 / advice.tests:.1g} needed for {advice.tests} tests)."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if abs(share) >= 0.095 else f"{100 * share:.1f} %"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(map(markdown_row, lines))
