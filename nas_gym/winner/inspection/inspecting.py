"""`nas-gym inspect`: all measurements and pictures of a run's winner, in order."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from nas_gym import standard_error
from nas_gym.document import as_markdown
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.process import prepared
from nas_gym.run_directory import RunDirectory
from nas_gym.winner.inspection.ablation import measure_layers
from nas_gym.winner.inspection.folder import CONTENT_FILE, PAGE, SCHEMA, Settings, read_inspection, write_inspection
from nas_gym.winner.inspection.layers import LAYERS_FILE, layers_json
from nas_gym.winner.inspection.measured import Measured, Part
from nas_gym.winner.inspection.page import page
from nas_gym.winner.inspection.parts import image_parts, weights_part
from nas_gym.winner.inspection.permutation import feature_importances
from nas_gym.winner.inspection.subject import Subject, digest_of, right, subject_of
from nas_gym.winner.result import Winner, load_winner

Watch = Callable[[str, int, int], None]
"""Told what is under way, how much of it is done, and of how much."""


def inspect_run(path: Path, settings: Settings, watch: Watch | None = None) -> dict[str, Any]:
    """Inspect the winner of a run, write ``RUN/inspection/``, and return what ``inspection.json`` holds.

    What was found with the same settings of the same network is only returned.

    Args:
        path: The run directory.
        settings: What is asked for.
        watch: Told how it goes on.

    Raises:
        RunError: It is no run, has no trained network, or its weights or data are damaged.
        ConfigurationError: There is no such device, or patches are asked for of something that is no image.
    """
    with closing(RunDirectory.open(path)):
        winner = load_winner(path)
        known = read_inspection(path)
        if (
            known is not None
            and known["settings"] == settings.to_json()
            and known.get("weights_digest") == _weights(winner)
        ):
            return known
        subject = subject_of(path, settings.device)
        if settings.patch is not None and not subject.has_images:
            raise ConfigurationError(
                f"patches are parts of images, and this network takes samples of shape {subject.winner.input_shape}; "
                "leave --patch out"
            )
        with prepared(settings.seed):
            found = _parts(subject, settings, watch or (lambda what, done, total: None))
        return _written(path, subject, settings, found)


def _weights(winner: Winner) -> str | None:
    return digest_of(winner) if winner.weights[0].is_file() else None


def _parts(subject: Subject, settings: Settings, watch: Watch) -> Measured:
    test = subject.samples("test", settings.images, settings.seed)
    layers = _layers_part(subject, settings, watch)
    if subject.has_images:
        parts = image_parts(subject, test, settings, watch)
    else:
        parts = [_features_part(subject, settings, watch)]
    accuracy = float(right(subject.network, test.inputs, test.targets).mean())
    return Measured(accuracy, len(test), (*parts, layers, weights_part(subject)))


def _layers_part(subject: Subject, settings: Settings, watch: Watch) -> Part:
    from nas_gym.winner.inspection import words
    from nas_gym.winner.inspection.number_figures import layers_figure
    from nas_gym.winner.inspection.pictures import png

    samples = subject.samples("validation", settings.images, settings.seed)
    training = subject.samples("train", settings.images, settings.seed)
    layers = measure_layers(
        subject,
        samples,
        training,
        seed=settings.seed,
        measured=lambda done, total: watch("layers", done, total),
    )
    accuracy = float(right(subject.network, samples.inputs, samples.targets).mean())
    sentence = words.of_layers(layers, accuracy, len(samples), subject.winner.retrained)
    facts = {
        "split": "validation",
        "images": len(samples),
        "seen_in_training": subject.winner.retrained,
        "count": len(layers),
        "idle": sum(one.matched_low <= 0 for one in layers),
        "accuracy": accuracy,
        "standard_error": standard_error.of_share(accuracy, len(samples)),
        "seed": settings.seed,
    }
    text = layers_json(subject.winner.candidate.key, layers, **facts)
    pictures = {"layers.png": (png(layers_figure(layers, accuracy, sentence)), sentence)}
    return Part("layers", "Layers", facts, pictures, {LAYERS_FILE: text.encode()}, tuple(layers))


def _features_part(subject: Subject, settings: Settings, watch: Watch) -> Part:
    from nas_gym.winner.inspection import words
    from nas_gym.winner.inspection.number_figures import features_figure
    from nas_gym.winner.inspection.pictures import png

    watch("features", 0, 1)
    test = subject.samples("test", settings.images, settings.seed)
    found = feature_importances(subject.network, test, repeats=settings.repeats, seed=settings.seed)
    sentence = words.of_features(found)
    return Part(
        "features",
        "Features",
        found.to_json(),
        {"features.png": (png(features_figure(found, sentence)), sentence)},
    )


def _written(path: Path, subject: Subject, settings: Settings, found: Measured) -> dict[str, Any]:
    files: dict[str, bytes] = {}
    for part in found.parts:
        files.update(part.files)
        files.update({name: picture for name, (picture, _) in part.pictures.items()})
    winner = subject.winner
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "settings": settings.to_json(),
        "key": winner.candidate.key,
        "weights_digest": digest_of(winner),
        "retrained": winner.retrained,
        "test_images": found.images,
        "test_accuracy": found.accuracy,
        "test_standard_error": standard_error.of_share(found.accuracy, found.images),
        "sentences": {name: text for part in found.parts for name, (_, text) in part.pictures.items()},
        **{part.name: part.numbers for part in found.parts},
    }
    files[PAGE] = as_markdown(page(winner, content, found), ".").replace("](./", "](").encode()
    content["files"] = sorted([*files, CONTENT_FILE])
    files[CONTENT_FILE] = json.dumps(_plain(content), indent=1, ensure_ascii=False).encode()
    write_inspection(path, files)
    return dict(json.loads(files[CONTENT_FILE]))


def _plain(value: Any) -> Any:
    """Return JSON-ready data without numbers that JSON does not know: None in their place."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
