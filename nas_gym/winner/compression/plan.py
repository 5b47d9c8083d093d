"""The plan of a compression: which variants are made, from what, and how long each is trained. Made once, then kept."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from nas_gym.architecture import Candidate
from nas_gym.builder import Network, build
from nas_gym.evaluation.loop import Tensors, score
from nas_gym.evaluation.process import TURN, prepared
from nas_gym.evaluation.training import tensors_of
from nas_gym.randomness import derived_seed
from nas_gym.winner.compression.material import Material
from nas_gym.winner.compression.pruning import groups, pruned
from nas_gym.winner.compression.request import Request, variant_name
from nas_gym.winner.compression.sensitivity import Advice, inspected, probed
from nas_gym.winner.compression.students import students
from nas_gym.winner.compression.tuning import Lesson, seconds_per_epoch
from nas_gym.winner.schedule import MOST_EPOCHS

Kind = Literal["plain", "pruned", "distilled"]
STUDENT_EPOCHS = 3  # times those of a pruned network: a student begins with random weights
SHARE = 0.8  # of a time budget that is planned for trainings; the rest is for exporting, int8 and measuring
_PROBED_IMAGES = 1_000
_WATCHED_IMAGES = 500


@dataclass(frozen=True)
class Step:
    """One network of the plan; int8 forms follow from it.

    Attributes:
        name: Of the variant.
        kind: What is done.
        epochs: Of its training; 0: none.
        ratio: Of the pruning.
        candidate: Of a student, as JSON-ready data.
    """

    name: str
    kind: Kind
    epochs: int = 0
    ratio: float = 0.0
    candidate: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Plan:
    """What a compression does.

    Attributes:
        steps: In order; the first one is the winner as it is.
        advice: By which layers are pruned; None: nothing is pruned, or nothing can be.
        seconds_per_epoch: As measured by a warm-up, by name; empty: epochs were given.
        notes: What was left out, and why.
    """

    steps: tuple[Step, ...]
    advice: Advice | None
    seconds_per_epoch: Mapping[str, float]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON-ready data."""
        return {
            "steps": [asdict(step) for step in self.steps],
            "advice": None if self.advice is None else self.advice.to_json(),
            "seconds_per_epoch": dict(self.seconds_per_epoch),
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Plan":
        """Return what `to_json` wrote."""
        advice = None if data["advice"] is None else Advice.from_json(data["advice"])
        return cls(tuple(Step(**s) for s in data["steps"]), advice, data["seconds_per_epoch"], tuple(data["notes"]))


def make_plan(
    material: Material, request: Request, since: float, probed_group: Callable[[int, int], None] | None = None
) -> Plan:
    """Return the plan of a compression; where a time decides, trainings are measured first.

    Args:
        material: What is compressed.
        request: What is asked for.
        since: When it began, of `time.perf_counter`.
        probed_group: Told how many groups of layers are probed, and of how many.
    """
    steps, notes = [Step("plain", "plain")], []
    advice = _advice(material, probed_group) if request.ratios else None
    if request.ratios and advice is None:
        notes.append("nothing was pruned: all channels of this network belong to its input or its output")
    if advice is not None:
        steps += [Step(variant_name(ratio), "pruned", request.epochs or 1, ratio) for ratio in request.ratios]
    learners = students(material.run, material.network.architecture, request.students)
    for number, one in enumerate(learners, 1):
        epochs = STUDENT_EPOCHS * (request.epochs or 1)
        steps.append(Step(f"distilled-{number}", "distilled", epochs, candidate=one.candidate.to_json()))
    if len(learners) < request.students:
        notes.append(
            f"{len(learners)} of {request.students} students: the search evaluated no other network with few enough "
            "MACs and parameters that learned enough to be taught"
        )
    plan = Plan(tuple(steps), advice, {}, tuple(notes))
    return plan if request.epochs is not None else _scheduled(plan, material, request, since)


def begun(step: Step, plan: Plan, material: Material) -> Network:
    """Return the network that a step begins with, untrained as far as the step is concerned."""
    if step.kind == "pruned":
        assert plan.advice is not None, "the plan prunes"
        return pruned(material.network, plan.advice.ratios(step.ratio))
    if step.kind == "plain":
        return material.network
    candidate = _candidate(step)
    network = build(candidate.trained, seed=derived_seed("distil/1", candidate.key))
    assert isinstance(network, Network), "build returns one"
    return network


def lesson(step: Step, network: Network, material: Material, request: Request, data: tuple[Tensors, Tensors]) -> Lesson:
    """Return the training of a step."""
    hyperparameters = _candidate(step).hyperparameters if step.kind == "distilled" else None
    return Lesson(
        network=network,
        teacher=material.winner.module(),
        recipe=material.recipe(step.epochs, hyperparameters),
        train=data[0],
        watched=data[1],
        temperature=request.temperature,
        teacher_weight=request.teacher_weight,
        seed=derived_seed("compress/1", step.name, request.seed),
        question=f"{material.digest} {material.dataset.fingerprint} {step}",
    )


def training_data(material: Material) -> tuple[Tensors, Tensors]:
    """Return all training images on the device, and some of the validation images to watch a training by."""
    train, validation = (tensors_of(material.dataset, name, material.device) for name in ("train", "validation"))
    return train, _some(validation, _WATCHED_IMAGES)


def _advice(material: Material, done: Callable[[int, int], None] | None) -> Advice | None:
    found = groups(material.network)
    if not found:
        return None
    told = inspected(material.run.path, material.winner.candidate.key, material.digest, found)
    if told is not None:
        return told
    images = _some(tensors_of(material.dataset, "validation", material.device), _PROBED_IMAGES)
    recipe = material.search.trainer.recipe
    with TURN, prepared(0, recipe.threads or 1, tf32=recipe.tf32):
        return probed(
            material.network, found, lambda network: score(network.to(material.device), images, recipe)[0], done
        )


def _scheduled(plan: Plan, material: Material, request: Request, since: float) -> Plan:
    """Return the plan with as many epochs as fit into the time: equally many, in units of each step."""
    assert request.minutes is not None, "epochs or a time"
    trained = [step for step in plan.steps if step.epochs]
    if not trained:
        return plan
    data = training_data(material)
    each = {
        step.name: seconds_per_epoch(lesson(step, begun(step, plan, material), material, request, data))
        for step in trained
    }
    seconds = max(0.0, request.minutes * 60 - (time.perf_counter() - since)) * SHARE
    units = seconds / sum(each[step.name] * step.epochs for step in trained)
    steps = [replace(s, epochs=min(MOST_EPOCHS, max(1, int(units * s.epochs)))) if s.epochs else s for s in plan.steps]
    return replace(plan, steps=tuple(steps), seconds_per_epoch={name: round(value, 4) for name, value in each.items()})


def _candidate(step: Step) -> Candidate:
    assert step.candidate is not None, "a student has one"
    return Candidate.from_json(step.candidate)


def _some(data: Tensors, most: int) -> Tensors:
    """Return up to so many images in even distances: a split may be sorted by class."""
    stride = -(-len(data) // most)
    return Tensors(data.inputs[::stride].contiguous(), data.targets[::stride].contiguous())
