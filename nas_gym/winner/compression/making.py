"""Making variants: each is trained, exported, compared with its network and noted, once."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nas_gym.errors import ExportError, RunError
from nas_gym.evaluation.loop import Tensors
from nas_gym.explain.record import write_atomically
from nas_gym.winner.compression.material import Material
from nas_gym.winner.compression.network import read_network, write_network
from nas_gym.winner.compression.plan import Plan, Step, begun, lesson, training_data
from nas_gym.winner.compression.quantising import LEAST_SAME_CLASS, TOLERANCE, quantised
from nas_gym.winner.compression.request import Request
from nas_gym.winner.compression.tuning import train
from nas_gym.winner.export import Exported, export_module, export_onnx_file
from nas_gym.winner.packaged import MOST_SAMPLES

Stepped = Callable[[int, int], None]
INT8 = "-int8"


class Maker:
    """Makes the variants of a plan in a folder; what is there already is not made again.

    A variant is done once ``NAME.json`` is there, beside ``NAME.onnx`` and, of float32 forms, ``NAME.pt``.

    Args:
        place: The folder.
        plan: What to make.
        material: From what.
        request: How.
    """

    def __init__(self, place: Path, plan: Plan, material: Material, request: Request) -> None:
        self._place, self._plan, self._material, self._request = place, plan, material, request
        self._data: tuple[Tensors, Tensors] | None = None

    def made(self, step: Step, stepped: Stepped | None = None) -> list[dict[str, Any]]:
        """Return the notes of the forms of a step, float32 first; they are made as far as they are not there.

        Raises:
            RunError: A training diverged.
            ExportError: A float32 form can't be exported. An int8 form that can't be made is noted as such.
        """
        notes = [self._noted(step.name, lambda: self._float(step, stepped))]
        if self._request.quantise:
            notes.append(self._noted(f"{step.name}{INT8}", lambda: self._int8(step, notes[0])))
        return notes

    def is_done(self, step: Step) -> bool:
        """Return whether all forms of a step are there."""
        names = [step.name, *([f"{step.name}{INT8}"] if self._request.quantise else [])]
        return all((self._place / f"{name}.json").exists() for name in names)

    def _noted(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        file = self._place / f"{name}.json"
        if not file.exists():
            write_atomically(file, json.dumps(make(), indent=1, ensure_ascii=False))
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise RunError(f"{str(file)!r} is damaged ({error}); remove it, then give the command again") from None

    def _float(self, step: Step, stepped: Stepped | None) -> dict[str, Any]:
        started, curve = time.perf_counter(), list[float]()
        weights, material = self._place / f"{step.name}.pt", self._material
        if step.epochs:
            self._data = self._data or training_data(material)
            what = lesson(step, begun(step, self._plan, material), material, self._request, self._data)
            network, curve = train(what, self._place / step.name, stepped)
        else:
            network = begun(step, self._plan, material)
        write_network(weights, network, accuracies=curve)
        shutil.rmtree(self._place / step.name, ignore_errors=True)
        samples = material.samples("test", MOST_SAMPLES)
        (exported,) = export_module(
            read_network(weights), material.facts(step.name), self._place, step.name, formats=["onnx"], samples=samples
        )
        architecture = network.architecture
        return {
            "name": step.name,
            "kind": step.kind,
            "numbers": "float32",
            "parameters": architecture.parameters,
            "macs": architecture.macs,
            "epochs": step.epochs,
            "accuracies": curve,
            "seconds": round(time.perf_counter() - started, 2),
            "ratio": step.ratio or None,
            "channels": _channels(architecture.to_json()),
            **_compared(exported),
        }

    def _int8(self, step: Step, of: dict[str, Any]) -> dict[str, Any]:
        started, name, material = time.perf_counter(), f"{step.name}{INT8}", self._material
        draft = self._place / f"{name}.draft"
        calibration = material.samples("train", self._request.calibration_images)
        note = {**of, "name": name, "numbers": "int8", "epochs": 0, "accuracies": []}
        try:
            quantised(self._place / f"{step.name}.onnx", draft, calibration.pixels)
            exported = export_onnx_file(
                draft,
                read_network(self._place / f"{step.name}.pt"),
                material.facts(name),
                self._place,
                name,
                tolerance=1.0,  # a probability between two classes may change by much: the logits are looked at
                samples=material.samples("test", MOST_SAMPLES),
            )
            _check_int8(exported)
        except ExportError as error:  # another variant may be fine
            return {**note, "refused": str(error)}
        finally:
            draft.unlink(missing_ok=True)
        found = {**_compared(exported), "tolerance": TOLERANCE, "difference": _of_logits(exported)}
        return {**note, "seconds": round(time.perf_counter() - started, 2), **found}


def _check_int8(exported: Exported) -> None:
    """Remove an int8 form that is too far from its network; raises ExportError then."""
    found = exported.comparison
    if _of_logits(exported) > TOLERANCE or found.same_class < LEAST_SAME_CLASS:
        exported.path.unlink()
        raise ExportError(
            f"its logits differ by {_of_logits(exported):.2g} of the largest one and it names the same class on "
            f"{found.same_class:.1%} of {found.source}; {TOLERANCE:g} and {LEAST_SAME_CLASS:.0%} are asked for"
        )


def _of_logits(exported: Exported) -> float:
    return exported.comparison.logits / exported.comparison.scale


def _compared(exported: Exported) -> dict[str, Any]:
    """Return what a note says of outputs; their accuracy is left out: nothing is chosen by test images."""
    found = exported.comparison
    return {
        "tolerance": exported.tolerance,
        "difference": found.difference,
        "same_class": found.same_class,
        "compared_on": found.source,
    }


def _channels(architecture: dict[str, Any]) -> list[int]:
    """Return the outputs of every convolution and linear layer."""
    told = [operation["settings"] for operation in architecture["operations"]]
    kinds = [operation["kind"] for operation in architecture["operations"]]
    return [
        int(s["channels" if k == "conv" else "units"])
        for s, k in zip(told, kinds, strict=True)
        if k in ("conv", "linear")
    ]
