"""The parts of an inspection that need images, and that of the weights: measured, drawn, put into words."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nas_gym.winner.inspection import image_figures, number_figures, words
from nas_gym.winner.inspection.activations import feature_maps, first_filters, weights_by_layer
from nas_gym.winner.inspection.attribution import BACKGROUND, SAMPLES, attribution
from nas_gym.winner.inspection.confusions import confusions, some_of_each
from nas_gym.winner.inspection.folder import Settings
from nas_gym.winner.inspection.image_figures import Explained
from nas_gym.winner.inspection.measured import Part
from nas_gym.winner.inspection.permutation import patch_importances, patch_size
from nas_gym.winner.inspection.pictures import png
from nas_gym.winner.inspection.sanity import cascade
from nas_gym.winner.inspection.subject import Samples, Subject, logits

SHOWN = 6  # images explained of those answered rightly, and of those answered wrongly
_CLASSES = 3  # of which feature maps are shown
_CASCADE_SAMPLES = 100

Watch = Callable[[str, int, int], None]


def image_parts(subject: Subject, test: Samples, settings: Settings, watch: Watch) -> list[Part]:
    """Return all that is asked of a network that takes images.

    Args:
        subject: The network.
        test: Images of the test split.
        settings: Of the inspection.
        watch: Told how it goes on.
    """
    found = [
        *_attribution_parts(subject, test, settings, watch),
        _patches_part(subject, test, settings, watch),
    ]
    watch("confusions and feature maps", 0, 1)
    return [*found, *_confusions_parts(subject, settings), *_maps_parts(subject, test)]


def weights_part(subject: Subject) -> Part:
    """Return how the weights of the layers are distributed."""
    found = weights_by_layer(subject.network)
    if not found:
        return Part("weights", "Weights", [], {})
    sentence = words.of_weights(found)
    picture = png(number_figures.weights_figure(found, sentence))
    return Part("weights", "Weights", [one.to_json() for one in found], {"weights.png": (picture, sentence)})


def _attribution_parts(subject: Subject, test: Samples, settings: Settings, watch: Watch) -> list[Part]:
    outputs = logits(subject.network, test.inputs)
    probabilities = outputs.double().softmax(1).cpu().numpy()
    answers = probabilities.argmax(1)
    right = answers == test.targets
    background = subject.samples("train", BACKGROUND, settings.seed).inputs
    chosen = [some_of_each(right, test.targets, wanted, SHOWN, settings.seed) for wanted in (True, False)]
    positions = [int(position) for one in chosen for position in one]
    pixels = subject.pixels(test.chosen(np.array(positions, dtype=np.int64)))
    explained: list[Explained] = []
    for number, position in enumerate(positions):
        watch("SHAP maps", number, len(positions))
        answered, true = int(answers[position]), int(test.targets[position])
        maps = [
            attribution(subject.network, test.inputs[position], of, background, seed=settings.seed)
            for of in dict.fromkeys((answered, true))
        ]
        sure = float(probabilities[position, answered])
        explained.append(Explained(pixels[number], true, answered, sure, position, tuple(maps)))
    return [
        _overlays(subject, test, explained),
        _sanity_part(subject, test, explained, background, settings, watch),
    ]


def _overlays(subject: Subject, test: Samples, explained: Sequence[Explained]) -> Part:
    names, pictures = subject.winner.class_names, {}
    for name, title, wanted, told in (
        ("shap-right.png", "What speaks for right answers", True, words.of_right),
        ("shap-wrong.png", "What speaks for wrong answers", False, words.of_wrong),
    ):
        shown = [one for one in explained if (one.true == one.answered) == wanted]
        if shown:
            sentence = told(shown)
            pictures[name] = (png(image_figures.overlays_figure(shown, names, title, sentence)), sentence)
    numbers = [
        {
            "test_image": int(test.places[one.position]),
            "true": names[one.true],
            "answered": names[one.answered],
            "probability": one.probability,
            "maps": [
                {"class": names[m.of], "output": m.output, "background": m.base, "sum": float(m.values.sum())}
                for m in one.maps
            ],
        }
        for one in explained
    ]
    gaps = [abs(m.gap) for one in explained for m in one.maps]
    spans = [abs(m.output - m.base) for one in explained for m in one.maps]
    facts = {"samples": SAMPLES, "background_images": BACKGROUND, "images": numbers}
    facts["relative_gap"] = float(np.sum(gaps) / max(float(np.sum(spans)), 1e-12))
    return Part("shap", "What speaks for an answer: SHAP values of pixels", facts, pictures)


def _sanity_part(
    subject: Subject,
    test: Samples,
    explained: Sequence[Explained],
    background: Tensor,
    settings: Settings,
    watch: Watch,
) -> Part:
    positions = np.array([one.position for one in explained], dtype=np.int64)
    sanity, maps = cascade(
        subject.network,
        test.chosen(positions).inputs,
        [one.maps[0] for one in explained],
        background,
        samples=_CASCADE_SAMPLES,
        seed=settings.seed,
        measured=lambda done, total: watch("sanity check of the maps", done, total),
    )
    sentence = words.of_sanity(sanity)
    picture = png(image_figures.sanity_figure(explained[0], maps, sanity, sentence))
    numbers = sanity.to_json() | {"verdict": words.verdict(sanity)}
    return Part("sanity", "Whether these maps can be trusted", numbers, {"sanity.png": (picture, sentence)})


def _patches_part(subject: Subject, test: Samples, settings: Settings, watch: Watch) -> Part:
    _, height, width = subject.winner.input_shape
    found = patch_importances(
        subject.network,
        test,
        size=settings.patch or patch_size(height, width),
        repeats=settings.repeats,
        seed=settings.seed,
        measured=lambda done, total: watch("patches", done, total),
    )
    sentence = words.of_patches(found)
    mean: NDArray[np.float32] = subject.pixels(test).mean(0)
    picture = png(number_figures.patches_figure(found, mean, sentence))
    return Part("patches", "Which parts of an image matter", found.to_json(), {"patches.png": (picture, sentence)})


def _confusions_parts(subject: Subject, settings: Settings) -> list[Part]:
    """Return the confused classes, over all test images; nothing where every answer is right."""
    test, names = subject.samples("test", len(subject.dataset.test), settings.seed), subject.winner.class_names
    probabilities = logits(subject.network, test.inputs).double().softmax(1).cpu().numpy()
    found = confusions(probabilities, test.targets)
    wrong = int((probabilities.argmax(1) != test.targets).sum())
    if not found:
        return []
    used = np.array([e.position for one in found for e in one.examples], dtype=np.int64)
    shown = subject.pixels(test.chosen(used))
    images = dict(zip(used.tolist(), shown, strict=True))
    sentence = words.of_confusions(found, names, wrong, len(test))
    picture = png(image_figures.confusions_figure(found, images, names, sentence))
    numbers = [
        one.to_json()
        | {"true": names[one.true], "answered": names[one.answered]}
        | {"examples": [{"test_image": e.position, "probability": e.probability} for e in one.examples]}
        for one in found
    ]
    return [Part("confusions", "Confused classes", numbers, {"confusions.png": (picture, sentence)})]


def _maps_parts(subject: Subject, test: Samples) -> list[Part]:
    """Return feature maps of an image of some classes and the first filters; nothing where nothing is convolved."""
    filters = first_filters(subject.network)
    if filters is None:
        return []
    classes = np.unique(test.targets)
    classes = classes[np.unique(np.linspace(0, len(classes) - 1, min(_CLASSES, len(classes))).round().astype(int))]
    positions = np.array([int(np.flatnonzero(test.targets == one)[0]) for one in classes], dtype=np.int64)
    shown = test.chosen(positions)
    found, pixels, names = (
        feature_maps(subject.network, shown.inputs),
        subject.pixels(shown),
        subject.winner.class_names,
    )
    sentence = words.of_feature_maps(found)
    pictures = {}
    for place, one in enumerate(classes):
        figure = image_figures.feature_maps_figure(found, place, pixels[place], names[int(one)], sentence)
        pictures[f"feature-maps-{place + 1}.png"] = (png(figure), sentence)
    seen = words.of_filters(len(filters), filters.shape[1], filters.shape[2])
    pictures["filters.png"] = (png(image_figures.filters_figure(filters, seen)), seen)
    numbers = [{"name": one.name, "channels": one.of, "shown": list(one.channels)} for one in found]
    return [Part("feature_maps", "Inside the network", numbers, pictures)]
