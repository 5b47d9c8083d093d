"""The winner's folder: whole retrainings replace whole ones, and every use of the test images is counted."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nas_gym.errors import ConfigurationError, RunError
from nas_gym.winner import folder as module
from nas_gym.winner.folder import WinnerFolder
from nas_gym.winner.request import DEFAULT_MINUTES, Request

ONE, TWO = Request(epochs=3, seeds=2), Request(epochs=4)


def fill(folder: WinnerFolder, request: Request, text: str) -> None:
    """Put into place what a retraining leaves."""
    place = folder.place(request)
    for seed in range(request.seeds):
        (place / f"seed-{seed}").mkdir()
        (place / f"seed-{seed}" / "weights.pt").write_text(text)
    (place / "tensorboard").mkdir()
    (place / "tensorboard" / "events").write_text(text)
    (place / "curves.png").write_text(text)
    folder.keep_plan(request, {"text": text})
    weights = [f"seed-{seed}/weights.pt" for seed in range(request.seeds)]
    content = {"schema": 1, "request": request.to_json(), "text": text, "weights": weights}
    (place / "winner.json").write_text(json.dumps(content))


def files(path: Path) -> dict[str, str]:
    return {str(f.relative_to(path)): f.read_text() for f in path.rglob("*") if f.is_file() and f.name != "winner.json"}


EXPECTED = {
    "one": {f"seed-{n}/weights.pt": "one" for n in (0, 1)} | {"tensorboard/events": "one", "curves.png": "one"},
    "two": {"seed-0/weights.pt": "two", "tensorboard/events": "two", "curves.png": "two"},
}


def test_a_retraining_replaces_an_earlier_one_with_all_its_seeds(tmp_path: Path) -> None:
    folder = WinnerFolder(tmp_path)
    for request, text in ((ONE, "one"), (TWO, "two")):
        fill(folder, request, text)
        assert folder.done(request) is None
        folder.publish(request)
        assert files(folder.path) == EXPECTED[text]
        assert (folder.done(request) or {})["text"] == text
    assert folder.done(ONE) is None


class Killed(BaseException):
    pass


@pytest.fixture
def killing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A countdown: after so many changes of the folder the process is gone."""
    left = [10**9]

    def counted(change: Any) -> Any:
        def changed(*arguments: Any, **options: Any) -> Any:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return change(*arguments, **options)

        return changed

    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "rmtree", counted(module.shutil.rmtree))
        for name in ("replace", "unlink", "touch"):
            patch.setattr(Path, name, counted(getattr(Path, name)))
        yield left


@pytest.mark.parametrize("changes", range(12))
def test_a_kill_while_it_is_put_into_place_is_made_good(changes: int, tmp_path: Path, killing: list[int]) -> None:
    folder = WinnerFolder(tmp_path)
    fill(folder, ONE, "one")
    folder.publish(ONE)
    fill(folder, TWO, "two")
    killing[0] = changes
    try:
        folder.publish(TWO)
        killed = False
    except Killed:
        killed = True
    killing[0] = 10**9
    assert killed == (changes < 10), "the range covers every change, and one more"
    content = folder.done(TWO) or folder.done(ONE)
    if content is not None:  # whoever reads in between finds a whole winner or none
        assert all((folder.path / name).read_text() == content["text"] for name in content["weights"])
    folder.finish()
    if changes == 0:  # not even the mark was set: it is done again
        folder.publish(TWO)
    assert files(folder.path) == EXPECTED["two"]
    assert (folder.done(TWO) or {})["text"] == "two"


def test_test_images_are_touched_once_by_every_retraining(tmp_path: Path) -> None:
    folder = WinnerFolder(tmp_path)
    assert folder.touch(ONE, "a", 100) == 1
    assert folder.touch(ONE, "a", 100) == 1, "a resumed retraining measures the same weights again"
    assert folder.touch(TWO, "a", 100) == 2
    assert WinnerFolder(tmp_path).touch(TWO, "b", 200) == 3
    assert [(t["request"], t["images"]) for t in folder.touches()] == [
        (ONE.digest, 100),
        (TWO.digest, 100),
        (TWO.digest, 200),
    ]


def test_a_request_that_comes_again_after_another_one_touches_them_again(tmp_path: Path) -> None:
    folder = WinnerFolder(tmp_path)
    folder.path.mkdir()
    early = {"request": ONE.digest, "test": "a", "images": 9, "when": "before plans were noted"}
    (folder.path / "touches.jsonl").write_text(json.dumps(early) + "\n")
    for count, (request, plan) in enumerate([(ONE, "first"), (TWO, "second"), (ONE, "third")], start=2):
        fill(folder, request, plan)
        assert folder.touch(request, "a", 9) == count
        assert WinnerFolder(tmp_path).touch(request, "a", 9) == count, "after a kill the plan is the same"
        folder.publish(request)


def test_damage_is_told(tmp_path: Path) -> None:
    folder = WinnerFolder(tmp_path)
    (folder.place(ONE) / "plan.json").write_text("{")
    with pytest.raises(RunError, match=r"plan.json' is damaged .*remove it"):
        folder.plan(ONE)
    (folder.path / "touches.jsonl").write_text("{")
    with pytest.raises(RunError, match="counts uses of test images, is damaged"):
        folder.touch(ONE, "a", 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top": 0}, "top is a whole number"),
        ({"repeats": 0}, "repeats is a whole number"),
        ({"seeds": 0}, "seeds is a whole number"),
        ({"depth": 0}, "depth is a whole number"),
        ({"epochs": 0}, "epochs is a whole number"),
        ({"minutes": 0}, "minutes is a time above 0"),
        ({"minutes": float("nan")}, "minutes is a time above 0"),
        ({"width": 0.0, "epochs": 1}, "width is auto or a factor"),
        ({"width": "auto", "epochs": 1}, "add --minutes"),
    ],
)
def test_a_request_that_can_not_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Request(**settings)


def test_a_request_is_told_from_others_and_means_the_same_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "more.npz").touch()
    monkeypatch.chdir(tmp_path)
    here = Request(also=("more.npz", "digits", "parts/*.npz"))
    assert here.also == (str(tmp_path / "more.npz"), "digits", str(tmp_path / "parts/*.npz"))
    assert here.minutes == DEFAULT_MINUTES
    there = Request(also=here.also, minutes=DEFAULT_MINUTES)
    assert here.digest == there.digest != Request().digest
    assert Request(recipe={"learning_rate": 0.1}).digest != Request().digest
