"""What was found: the best networks, how the search came to them, and what more accuracy costs."""

from collections.abc import Sequence

from nas_gym.document import Heading, Items, Rows, of_markdown
from nas_gym.drawing import architecture_table
from nas_gym.explain.record import FORCED
from nas_gym.explain.words import is_close_to_chance
from nas_gym.report.material import Material
from nas_gym.report.numbers import counted, listed, measured, tested
from nas_gym.report.search_figures import Front, Progress, front_figure, progress_figure
from nas_gym.report.section import Page, Section, silent
from nas_gym.run import Ranked
from nas_gym.run_directory import FIGURES

TITLE = "The answer"
MOST = 5
MOST_OF_FRONT = 8
NETWORK = "network.png"


def answer(material: Material) -> Section:
    """Return the answer in three sentences, the best networks, and the pictures of the search."""
    best = material.best
    if best is None:
        return silent(TITLE, "No network has been evaluated successfully yet; what failed is listed below.")
    page = Page(TITLE, "answer")
    page.blocks.append(Items(sentences(material, best)))
    page.blocks += _networks(material)
    _add_search(page, material, best)
    _add_front(page, material)
    _add_layers(page, material, best)
    return page.section()


def sentences(material: Material, best: Ranked) -> list[str]:
    """Return the answer in three sentences: how good, what it is, what is known of why it was chosen."""
    choices = ", ".join(f"{slot} = {choice}" for slot, choice in best.choices)
    costs = f"{best.evaluation.parameters:,} parameters and {best.evaluation.macs:,} multiply-accumulates"
    return [
        f"The best network reaches {_worth(material, best)}.",
        f"It has {costs}, first came up in episode {best.episode:,} (counted from 0; {len(material.run.history):,} in "
        f"all), and is: {choices}.",
        _chosen(material),
    ]


def _worth(material: Material, best: Ranked) -> str:
    if best.accuracy is None:
        return f"a **{measured(best)}**; it was not trained"
    of = f", the mean of {best.n} trainings" if best.n > 1 else ""
    shown = f"a validation accuracy of **{measured(best)}**{of}"
    found = (material.result or {}).get("best") or {}
    if found.get("key") != best.candidate.key or not tested(found):
        return shown
    what = f"{found['score']} accuracy in the table" if found.get("score") else "accuracy on the test images"
    return f"{shown}, and {'an' if what[0] == 'a' else 'a'} {what} of **{tested(found)}**"


def _chosen(material: Material) -> str:
    rows = material.steps
    if not rows:
        return "How its decisions were taken is not on record."
    if not material.has_policy:
        return "The agent has no policy that could be asked for its preferences; what its decisions earned can be."
    free = [row for row in rows if not row["flags"] & FORCED]
    chance = sum(is_close_to_chance(row) for row in free)
    if chance == len(free):
        return "All of its free decisions were close to chance: no preference of the policy explains them."
    some = f"{chance} of its {counted(len(free), 'free decision')} {'was' if chance == 1 else 'were'} close to chance"
    return (
        f"{some if chance else 'None of its free decisions was close to chance'}; what moved the policy at the others "
        "is shown below."
    )


def _networks(material: Material) -> list[Rows | Heading]:
    networks = material.ranked[:MOST]
    result = (material.result or {}).get("best") or {}
    tests = {result.get("key"): tested(result)}
    timed = any(one.evaluation.latency_ms is not None for one in networks)
    header = ["", "validation ± standard error", "trainings", "test", "parameters", "MACs"]
    header += ["latency, ms"] if timed else []
    rows = [
        [
            f"{place}",
            measured(one),
            str(one.n),
            tests.get(one.candidate.key) or "–",
            f"{one.evaluation.parameters:,}",
            f"{one.evaluation.macs:,}",
            *([_latency(one)] if timed else []),
            f"{one.episode:,}",
        ]
        for place, one in enumerate(networks, start=1)
    ]
    caption = (
        "The best networks. Of one training, the standard error is that of a share measured on the validation images; "
        "of several trainings, that of their mean. The test images are touched once, for the winner."
    )
    known = [Rows((*header, "episode"), rows, caption)]
    return [Heading("The best networks", 3), *known, Heading("Decision by decision", 3), _side_by_side(networks)]


def _latency(one: Ranked) -> str:
    evaluation = one.evaluation
    if evaluation.latency_ms is None:
        return "–"
    spread = "" if evaluation.latency_iqr_ms is None else f" (IQR {evaluation.latency_iqr_ms:.2f})"
    return f"{evaluation.latency_ms:.2f}{spread}"


def _side_by_side(networks: Sequence[Ranked]) -> Rows:
    """Return the choices of networks slot by slot; what differs from the best one is bold."""
    slots = list(dict.fromkeys(slot for one in networks for slot, _ in one.choices))
    chosen = [dict(one.choices) for one in networks]
    rows = []
    for slot in slots:
        cells = [own.get(slot, "–") for own in chosen]
        rows.append([slot, cells[0], *(cell if cell == cells[0] else f"**{cell}**" for cell in cells[1:])])
    header = ["decision", *(f"network {place}" for place in range(1, len(networks) + 1))]
    told = "Bold: other than in the best one." if len(networks) > 1 else ""
    return Rows(header, rows, told, plain=True)


def _add_layers(page: Page, material: Material, best: Ranked) -> None:
    picture = material.run.path / FIGURES / NETWORK
    drawn = ((material.result or {}).get("best") or {}).get("key") == best.candidate.key
    page.blocks.append(Heading("The best network, layer by layer", 3))
    if drawn and picture.is_file():
        caption = "The best network: what each decision adds, and the size of what leaves it."
        page.show("network", picture, caption, f"{caption} {', '.join(f'{s}: {c}' for s, c in best.choices)}.")
    (table,) = of_markdown(architecture_table(best.candidate.architecture))
    assert isinstance(table, Rows)
    rows = [[f"{number} {operation}".strip(), *others] for number, operation, *others in table.rows]
    page.blocks.append(Rows(("operation", *table.header[2:]), rows, "Its operations, as they are computed."))


def _add_search(page: Page, material: Material, best: Ranked) -> None:
    progress = Progress.of(material.run.history, best)
    if len(progress.values) < 2:
        return
    end = max(progress.best_so_far)
    caption = (
        f"The best so far over {counted(len(progress.values), 'evaluation')}: every dot is one, the line is the best "
        f"{progress.measure} seen until then, which ends at {end:.4f}."
    )
    if best.n > 1 and best.accuracy is not None:
        caption += (
            f" The best single measurement is usually a lucky one; the diamond is the winner's mean over "
            f"{best.n} trainings, {measured(best)}."
        )
    page.blocks.append(Heading("How the search came to it", 3))
    page.show("progress", lambda width: progress_figure(progress, width), caption)


def _add_front(page: Page, material: Material) -> None:
    networks = [one for one in material.ranked if one.accuracy is not None]
    if len(networks) < 2:
        return
    front = Front(networks, material.run.pareto("macs"))
    page.blocks.append(Heading("What more accuracy costs", 3))
    rows = [
        [measured(one), f"{one.evaluation.macs:,}", f"{one.evaluation.parameters:,}", f"{one.episode:,}"]
        for one in front.best[-MOST_OF_FRONT:]
    ]
    caption = (
        f"Accuracy against multiply-accumulates: no network of this run is both cheaper and better than the "
        f"{listed([counted(len(front.best), 'network')])} of the line; bars are standard errors."
    )
    few = f"the {MOST_OF_FRONT} most accurate" if len(front.best) > MOST_OF_FRONT else "the cheapest first"
    told = f"The line in numbers: {few}."
    page.show("front", lambda width: front_figure(front, width), caption)
    page.blocks.append(Rows(("validation", "MACs", "parameters", "episode"), rows, told))
