"""What every picture of an inspection shows and what is to be seen, in sentences with the numbers of this network."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nas_gym.winner.inspection.activations import FeatureMaps, Weights
from nas_gym.winner.inspection.confusions import Confusion
from nas_gym.winner.inspection.image_figures import Explained, counted
from nas_gym.winner.inspection.layers import LayerImportance
from nas_gym.winner.inspection.permutation import FeatureImportances, PatchImportances
from nas_gym.winner.inspection.sanity import Sanity

_COLOURS = (
    "Blue pixels move the network's output towards the class, orange ones away from it, compared with training images; "
    "the stronger the colour, the more. Each map has a scale of its own."
)


def of_right(shown: Sequence[Explained]) -> str:
    """Return what the overlays of right answers show."""
    return f"{counted(len(shown), 'test image')} answered rightly, each beside its map for the answer. {_COLOURS}"


def of_wrong(shown: Sequence[Explained]) -> str:
    """Return what the overlays of wrong answers show."""
    return (
        f"{counted(len(shown), 'test image')} answered wrongly: the image, what speaks for the answer, and what speaks "
        f"for the true class. {_COLOURS} Where the two maps swap colours, those pixels decided."
    )


def of_sanity(sanity: Sanity) -> str:
    """Return what the sanity check came to."""
    last = sanity.stages[-1]
    found = (
        f"With every weight random, the strengths of the maps of {sanity.images} images have a rank correlation of "
        f"{last.correlation:.2f} with those of the trained network, the signed values {last.signed:.2f}; the contrast "
        f"of the image alone (dashed) has {sanity.contrast:.2f}."
    )
    return f"{found} {verdict(sanity)}"


def verdict(sanity: Sanity) -> str:
    """Return what the sanity check means for those who read the maps; a warning where a correlation stays high."""
    last = sanity.stages[-1]
    if sanity.passed:
        return "The maps depend on what was learned."
    if last.signed > sanity.threshold:
        return "Warning: a random network gives nearly the same maps; they tell of the images, not of what was learned."
    return (
        "Warning: where the colours are strong follows the contrast of the image as much as the network; read whether "
        "they are blue or orange rather than how strong they are."
    )


def of_patches(found: PatchImportances) -> str:
    """Return what the map of patches shows."""
    images, shuffled = counted(found.images, "test image"), counted(found.repeats, "shuffling")
    return (
        f"Points of accuracy that are lost when a patch comes from another image ({images}, {shuffled} of each patch; "
        f"{found.accuracy:.1%} as they are). {_most_needed_patch(found.to_json())} Patches that lose no more than two "
        "standard errors are grey."
    )


def _most_needed_patch(patches: Mapping[str, Any]) -> str:
    """Return which patch is worth most, or that none is, from the numbers of the patches."""
    lost, errors, size = np.array(patches["lost"]), np.array(patches["standard_error"]), int(patches["size"])
    clear = lost > 2 * errors
    if not clear.any():
        return f"None of the {lost.size} patches alone is worth anything that can be told from chance."
    row, column = np.unravel_index(int(np.where(clear, lost, -1).argmax()), lost.shape)
    top, left = int(row) * size, int(column) * size
    return (
        f"It needs rows {top} to {top + size - 1}, columns {left} to {left + size - 1} most: "
        f"{100 * lost[row, column]:.1f} ± {100 * errors[row, column]:.1f} points; {int(clear.sum())} of {lost.size} "
        "patches lose more than two standard errors."
    )


def of_features(found: FeatureImportances) -> str:
    """Return what the bars of features show."""
    best = int(found.lost.argmax())
    return (
        f"Points of accuracy that are lost when a feature comes from another row ({found.rows} test rows, "
        f"{found.repeats} shufflings each; {found.accuracy:.1%} as they are), with standard errors over the "
        f"shufflings. Feature {best} is worth most: {100 * found.lost[best]:.1f} points."
    )


def most_needed(layers: Sequence[LayerImportance]) -> tuple[int, LayerImportance]:
    """Return the layer that is worth most with mean and deviation kept, and its number, from 1."""
    return max(enumerate(layers, start=1), key=lambda pair: pair[1].matched_lost_accuracy)


def of_layers(layers: Sequence[LayerImportance], accuracy: float, images: int, seen: bool) -> str:
    """Return what the picture of layers shows.

    Args:
        layers: In order.
        accuracy: Of the whole network.
        images: On how many it was measured.
        seen: Whether these images were trained on.
    """
    number, best = most_needed(layers)
    idle = [one for one in layers if one.matched_low <= 0]
    text = (
        f"Points of accuracy that are lost when a layer is replaced by the identity or, where it changes the shape, by "
        f"means or single pixels; nothing is trained again, {images} validation images, 95 % intervals. "
        f"With mean and deviation of its output kept (orange), layer {number}, {best.name}, is worth most: "
        f"{100 * best.matched_lost_accuracy:.1f} of {100 * accuracy:.1f} points"
    )
    text += f"; {len(idle)} of {len(layers)} layers are worth nothing that can be told from chance." if idle else "."
    return text + (" The network was trained on these images, too." if seen else "")


def of_weights(found: Sequence[Weights]) -> str:
    """Return what the distributions of weights show."""
    moved = max(found, key=lambda one: abs(np.log(max(one.deviation, 1e-12) / one.drawn_with)))
    return (
        "Weights of every layer with weights (blue) and the distribution they were drawn from before the training "
        "(orange line): where the two part, the training moved them. Furthest from its start is "
        f"{moved.name}: deviation {moved.deviation:.3f}, drawn with {moved.drawn_with:.3f}."
    )


def of_confusions(found: Sequence[Confusion], names: Sequence[str], wrong: int, images: int) -> str:
    """Return what the picture of confused classes shows."""
    first = found[0]
    return (
        f"{wrong:,} of {images:,} test images are answered wrongly. Most often {names[first.true]} is taken for "
        f"{names[first.answered]}: {counted(first.count)}, {first.share:.1%} of the class. Shown are those of "
        "which the network was surest."
    )


def of_feature_maps(found: Sequence[FeatureMaps]) -> str:
    """Return what the feature maps show."""
    return (
        f"A row for each of the {len(found)} convolutions, from the first to the last, after its normalisation and "
        "activation: the maps that vary most, by number of channel, dark to bright from their smallest to their "
        "largest value. Maps that are alike carry the same information twice."
    )


def of_filters(count: int, channels: int, side: int) -> str:
    """Return what the filters of the first convolution show."""
    colours = "as the colours they weigh" if channels == 3 else "blue for positive weights, orange for negative ones"
    only = (
        "one weight per channel, so it mixes channels and sees no shapes"
        if side == 1
        else "stripes are edges it looks for, plain tiles are blurs"
    )
    return f"{counted(count, 'filter')} of {channels}×{side}×{side} weights, largest first, {colours}: {only}."


def findings(content: Mapping[str, Any]) -> list[str]:
    """Return the few short sentences that a reader looks for first.

    Args:
        content: Of ``inspection.json``.
    """
    found = []
    if "patches" in content:
        found.append(_most_needed_patch(content["patches"]))
    if "features" in content:
        lost = np.array(content["features"]["lost"])
        found.append(f"It needs feature {int(lost.argmax())} most: {100 * lost.max():.1f} points lost when shuffled.")
    layers = content["layers"]
    idle = f"{layers['idle']} of {layers['count']} layers are worth nothing that can be told from chance."
    found.append(idle if layers["idle"] else f"Each of the {layers['count']} layers is worth something.")
    if content.get("confusions"):
        first = content["confusions"][0]
        found.append(
            f"It takes {first['true']} for {first['answered']} most often: {counted(first['count'])}, "
            f"{first['share']:.1%} of the class."
        )
    if "sanity" in content:
        last = content["sanity"]["stages"][-1]
        found.append(
            f"SHAP maps: {content['sanity']['verdict']} (With random weights the rank correlation is "
            f"{last['correlation']:.2f}, {last['signed']:.2f} with signs.)"
        )
    return found
