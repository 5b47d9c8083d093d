"""The record of layer importances: a round trip, and a sentence for every way in which it can't be read."""

import json
from pathlib import Path

import pytest

from nas_gym.errors import RunError
from nas_gym.winner.inspection import LayerImportance, layer_importances
from nas_gym.winner.inspection.layers import INSPECTION, LAYERS_FILE, layers_json
from nas_gym.winner.result import load_winner

LAYER = LayerImportance(
    position=3,
    kind="conv",
    name="conv 3×3 to 8",
    lost_accuracy=0.25,
    low=0.2,
    high=0.3,
    parameters=72,
    macs=4608,
    substitute="identity",
    matched_lost_accuracy=0.125,
    matched_low=0.1,
    matched_high=0.15,
    replaced=(3, 4),
)


def written(run_path: Path, text: str) -> None:
    (run_path / INSPECTION).mkdir()
    (run_path / INSPECTION / LAYERS_FILE).write_text(text, encoding="utf-8")


def test_what_was_written_is_read(run_path: Path) -> None:
    written(run_path, layers_json(load_winner(run_path).candidate.key, [LAYER], images=7))
    assert layer_importances(run_path) == [LAYER]


def test_a_run_that_was_not_inspected_says_how_to(run_path: Path) -> None:
    with pytest.raises(RunError, match="was not inspected yet; run nas-gym inspect"):
        layer_importances(run_path)


def test_another_winner_is_not_taken_for_this_one(run_path: Path) -> None:
    written(run_path, layers_json("0" * 32, [LAYER]))
    with pytest.raises(RunError, match="another winner since"):
        layer_importances(run_path)


@pytest.mark.parametrize("damage", ["torn", "schema", "field", "list"])
def test_damage_is_told(damage: str, run_path: Path) -> None:
    text = layers_json(load_winner(run_path).candidate.key, [LAYER])
    content = json.loads(text)
    content["schema"] = 99 if damage == "schema" else content["schema"]
    if damage == "field":
        del content["layers"][0]["substitute"]
    written(run_path, {"torn": text[:-20], "list": "[1]"}.get(damage, json.dumps(content)))
    with pytest.raises(RunError, match="is damaged"):
        layer_importances(run_path)
