"""What was asked, and what was spent on it."""

import math
import re
from typing import Any

from nas_gym.document import Rows
from nas_gym.report.material import Material
from nas_gym.report.numbers import counted, duration, plain
from nas_gym.report.section import Page, Section

# Of the data sets known by name, as their authors state them.
LICENCES = {
    "digits": "CC BY 4.0 (UCI machine learning repository, E. Alpaydin and C. Kaynak 1998)",
    "MNIST": "CC BY-SA 3.0 (Y. LeCun and C. Cortes)",
    "FashionMNIST": "MIT (Zalando SE 2017)",
    "CIFAR10": "none is stated; cite A. Krizhevsky 2009",
    "CIFAR100": "none is stated; cite A. Krizhevsky 2009",
}
_EVALUATORS = {
    "training": "every network is trained, and its accuracy on the validation images is measured",
    "tabular": "no network is trained: the answers were trained before, and are looked up in a table",
    "supernet": "networks share the weights of a supernet, which ranks them and says less than a training",
    "proxy": "no network is trained: a number that is cheap to compute stands in for the accuracy",
}
_STATES = {
    "running": "This search is running, or was killed: what follows is how far it has come.",
    "interrupted": "This search was interrupted: what follows is how far it came. `nas-gym resume` goes on with it.",
}


def state(material: Material) -> str:
    """Return a sentence on a search that has not ended; empty for one that has."""
    return _STATES.get(str(material.run.content["state"]), "")


def question(material: Material) -> Section:
    """Return what was searched, by what, and the budget that was spent."""
    page = Page("The question and the budget", "question")
    settings = material.settings
    page.say(
        f"Which network that can be designed in `{settings['env']}` has the best "
        f"{_goal(material)}? The agent `{settings['agent']}` looked for it."
    )
    page.blocks.append(Rows(("what was asked", ""), _asked(material), plain=True))
    page.say(state(material))
    page.blocks.append(Rows(("what was spent", ""), _spent(material), plain=True))
    return page.section()


def objective(material: Material) -> str:
    """Return the name of what was searched for."""
    return str(material.settings.get("env_args", {}).get("objective") or "accuracy")


def _goal(material: Material) -> str:
    name = objective(material)
    return "validation accuracy" if name == "accuracy" else f"value of the objective `{name}`"


def _asked(material: Material) -> list[tuple[str, str]]:
    settings, content = material.settings, material.run.content
    slots = content["slots"]
    combinations = math.prod(len(slot["choices"]) for slot in slots)
    many = f"{combinations:,}" if combinations < 10**9 else f"{combinations:.1e}"
    rows = [
        ("environment", f"`{settings['env']}`"),
        ("its arguments", _pairs(settings.get("env_args", {}))),
        ("data", data(material)),
        ("evaluation", _evaluation(material)),
        ("objective", f"`{objective(material)}`"),
        ("decisions", f"{len(slots)}: {', '.join(slot['name'] for slot in slots)}"),
        ("combinations", f"at most {many}; masks leave out those that make no network, or make one too large"),
        ("agent", f"`{settings['agent']}`, {_pairs(settings.get('agent_args', {})) or 'default settings'}"),
        ("seed", str(settings["seed"])),
        ("budget", _budget(settings)),
    ]
    if settings.get("warm_start"):
        rows.append(("began with", f"`{settings['warm_start']}`"))
    return [(name, value) for name, value in rows if value]


def data(material: Material) -> str:
    """Return what is known of the data: name, sizes of its parts, licence."""
    known: dict[str, Any] = material.run.content.get("data") or {}
    if known.get("table"):
        told = [f"the table `{known['table']}`, {known['rows']:,} rows"]
        facts = dict(sorted(known.get("facts", {}).items(), key=lambda pair: pair[0] != "data"))
        told += [f"{name}: {plain(value)}" for name, value in facts.items()]
        return "; ".join(told)
    named = re.search(r"training/1 (.+?):[0-9a-f]{16} ", material.run.content["namespace"])
    name = str(known.get("name") or (named[1] if named else ""))
    if not name:
        return ""
    told = [f"`{name}`"]
    if known.get("train"):
        shape = "×".join(map(str, known["input_shape"]))
        parts = f"{known['train']:,} to train, {known['validation']:,} to validate, {known['test']:,} to test"
        told.append(f"{shape} images of {known['classes']} classes: {parts}")
    licence = LICENCES.get(name)
    return "; ".join([*told, *([f"licence: {licence}"] if licence else [])])


def _evaluation(material: Material) -> str:
    parts = str(material.run.content["namespace"]).split(" ")
    told = next((words for part in parts[1:] for name, words in _EVALUATORS.items() if part.startswith(name)), "")
    fidelity = material.run.content.get("fidelity", "full")
    reduced = f"; at the fidelity `{fidelity}`, not in full" if fidelity not in ("full", None) else ""
    return f"{told or f'`{parts[1] if len(parts) > 1 else parts[0]}`'}{reduced}"


def _budget(settings: dict[str, Any]) -> str:
    kinds = (("evaluations", "evaluations, repeats included"), ("unique", "distinct networks"))
    return ", ".join(f"{settings[name]:,} {words}" for name, words in kinds if settings.get(name) is not None)


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"`{name}={plain(value)}`" for name, value in values.items())


def _spent(material: Material) -> list[tuple[str, str]]:
    history, result, content = material.run.history, material.result or {}, material.run.content
    evaluated = [episode for episode in history if episode.key is not None]
    distinct = len({episode.key for episode in evaluated})
    failed = sum(episode.status != "ok" for episode in history)
    rows = [
        ("evaluations", f"{len(evaluated):,}, of {counted(distinct, 'distinct network')}"),
        ("failures", f"{failed:,}"),
        ("beyond the budget", _confirmed(result)),
        ("wall-clock time", duration(result["seconds"]) if result.get("seconds") is not None else ""),
        ("policy updates", f"{result['updates']:,}" if result.get("updates") else ""),
        ("begun", str(content.get("created", ""))),
        ("machine", _machine(content)),
    ]
    return [(name, value) for name, value in rows if value]


def _confirmed(result: dict[str, Any]) -> str:
    found = result.get("confirmation")
    if not found:
        return ""
    failed = f", of which {found['failed']} failed" if found["failed"] else ""
    return (
        f"the best {counted(found['candidates'], 'network')} trained {found['repeats']} more times each{failed}: "
        f"{duration(found['cost_seconds'])}"
    )


def _machine(content: dict[str, Any]) -> str:
    hardware, versions = content.get("hardware") or {}, content.get("versions") or {}
    told = [f"{hardware.get('system', '')} {hardware.get('machine', '')}".strip()]
    if hardware.get("processors"):
        told.append(counted(hardware["processors"], "processor"))
    shown = ("python", "nas-gym", "torch")
    told += [f"{name} {versions[name]}" for name in shown if versions.get(name)]
    workers = (content.get("workers") or {}).get("workers", "1")
    told += [] if workers == "1" else ["a Ray cluster" if workers == "ray" else f"{workers} worker processes"]
    return ", ".join(filter(None, told))
