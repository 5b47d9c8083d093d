"""What is of other weights than the network to use: told as such, and only that."""

import json
from pathlib import Path
from typing import Any

import pytest

from nas_gym.document import Code, Text
from nas_gym.report import finished
from nas_gym.report.section import Page
from nas_gym.winner.result import load_winner
from nas_gym.winner.tuning.words import part_in_words

NOW, OLD = b"weights of the last training", b"weights of the training before"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A retrained winner that was scaled: its key is not that of the network that was searched."""
    from nas_gym.architecture import Architecture, Candidate, Operation
    from nas_gym.winner import result

    linear = Operation("linear", (("units", 2),), (-1,))
    content = {
        "schema": 1,
        "key": "of the search",
        "candidate": Candidate(Architecture((3,), (linear,))).to_json(),
        "class_names": ["a", "b"],
        "input_shape": [3],
        "mean": [0.0],
        "std": [1.0],
        "metrics": {},
        "weights": ["seed-0/weights.pt"],
    }
    (tmp_path / "winner/seed-0").mkdir(parents=True)
    (tmp_path / "winner/winner.json").write_text(json.dumps(content))
    (tmp_path / "winner/seed-0/weights.pt").write_bytes(NOW)
    monkeypatch.setattr(result, "Run", lambda path: None)
    return tmp_path


def trained_again(run: Path) -> str:
    """Put other weights of the same network in place; return the digest of those before."""
    before = load_winner(run).digest
    assert before is not None
    (run / "winner/seed-0/weights.pt").write_bytes(OLD)
    return before


def use(run: Path) -> tuple[str, str]:
    page = Page("", "")
    finished._add_use(page, run)
    return tuple(" ".join(b.text for b in page.blocks if isinstance(b, kind)) for kind in (Code, Text))  # type: ignore[return-value]


def variants(run: Path, weights: str | None) -> dict[str, Any]:
    (run / "compressed").mkdir(exist_ok=True)
    (run / "compressed/small.onnx").touch()
    content = {"schema": 1, "chosen": {"smallest": "small"}, "winner": {"key": "", "weights": weights}}
    (run / "compressed/compressed.json").write_text(json.dumps(content))
    return content


def test_a_scaled_winner_is_not_another_network_but_one_trained_again_is(run: Path) -> None:
    digest = load_winner(run).digest
    assert digest is not None and len(digest) == 16
    assert finished._of_another(run, digest, "inspect") == []
    assert finished._of_another(run, None, "inspect") == [], "unknown in older files"
    before = trained_again(run)
    (told,) = finished._of_another(run, before, "inspect")
    assert "an earlier training of it" in told and f"nas-gym inspect {run}" in told
    (run / "winner/seed-0/weights.pt").unlink()
    assert finished._of_another(run, before, "inspect") == [], "nothing to compare with"


def test_a_tuning_that_had_no_part_in_the_training_says_so(run: Path) -> None:
    tuning = {"key": "of the search", "recipe": {"learning_rate": 0.2, "flip": True, "crop": 2}}
    winner = finished._retrained(run)
    assert winner is not None
    assert part_in_words(tuning, winner, run) == [], "unknown in older files"
    assert part_in_words(tuning, winner | {"recipe": tuning["recipe"] | {"epochs": 9}}, run) == []
    (told,) = part_in_words(tuning, winner | {"recipe": {"learning_rate": 0.1, "flip": False, "crop": 2}}, run)
    assert "not trained with this recipe**, but with another learning rate and flip: " in told
    assert f"nas-gym retrain {run} --tuned" in told
    (told,) = part_in_words(tuning | {"key": "other"}, winner | {"recipe": tuning["recipe"]}, run)
    assert "tuned for another network" in told and f"nas-gym tune {run} --fresh" in told
    (told,) = part_in_words(tuning, None, run)
    assert "No network" in told
    (run / "tuning").mkdir()
    trials = {"broad": 5, "narrow": 5, "pruned": 0, "failed": 0, "epochs": 20}
    content = {**tuning, "schema": 1, "trials": trials, "best_trial": {"accuracy": 0.5, "stage": "broad"}}
    (run / "tuning/best.json").write_text(json.dumps({**content, "key": "other", "validation": None}))
    assert "tuned for another network" in finished._tuning(run)[0]


def test_models_of_old_weights_are_not_shown_for_use(run: Path) -> None:
    digest = load_winner(run).digest
    (run / "export").mkdir()
    (run / "export/model_card.md").touch()
    (run / "export/model.onnx").write_bytes(b"\x00" + json.dumps({"weights": digest}).encode() + b"\xff")
    variants(run, digest)
    commands, told = use(run)
    assert "export/model.onnx" in commands and "compressed/small.onnx" in commands and "model_card.md" in told
    trained_again(run)
    commands, told = use(run)
    assert commands == "" and "model_card.md" not in told
    assert f"nas-gym export {run}` again: `{run / 'export/model.onnx'}`" in told and f"nas-gym compress {run}" in told
    (run / "export/model.onnx").write_bytes(b"of a time before models carried it")
    variants(run, load_winner(run).digest)
    commands, told = use(run)
    assert "export/model.onnx" in commands and "compressed/small.onnx" in commands and "again" not in told
