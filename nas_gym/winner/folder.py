"""The winner's folder in a run: a retraining under way, what it ends with, and how often test images were touched."""

import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Any

from nas_gym.errors import RunError
from nas_gym.explain.record import write_atomically
from nas_gym.winner.request import Request
from nas_gym.winner.result import WINNER, WINNER_FILE, read_winner_file

PLAN_FILE = "plan.json"
TOUCHES = "touches.jsonl"
_UNFINISHED = "unfinished"
_COMPLETE = "COMPLETE"


class WinnerFolder:
    """Where a retraining is under way, and where it is put once it is complete; the caller owns the run.

    ``RUN/winner/unfinished/DIGEST`` holds what a request has come to so far. `publish` puts its files in place of those
    of an earlier retraining: a kill in between leaves a mark, and `finish` does the rest.

    Args:
        run: The run directory.
    """

    def __init__(self, run: Path) -> None:
        self.path = run / WINNER

    def place(self, request: Request) -> Path:
        """Return the folder in which a request is under way, made if it is not there."""
        place = self.path / _UNFINISHED / request.digest
        place.mkdir(parents=True, exist_ok=True)
        return place

    def done(self, request: Request) -> dict[str, Any] | None:
        """Return what ``winner.json`` holds if it is the answer to this request."""
        if not (self.path / WINNER_FILE).exists():
            return None
        content = read_winner_file(self.path)
        return content if content.get("request") == request.to_json() else None

    def plan(self, request: Request) -> dict[str, Any] | None:
        """Return the plan that was made for a request; None before."""
        file = self.place(request) / PLAN_FILE
        if not file.exists():
            return None
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise RunError(f"{str(file)!r} is damaged ({error}); remove it, then retrain again") from None

    def keep_plan(self, request: Request, plan: dict[str, Any]) -> None:
        """Write the plan of a request: from now on it does not change."""
        write_atomically(self.place(request) / PLAN_FILE, json.dumps(plan, indent=1, ensure_ascii=False))

    def touch(self, request: Request, test: str, images: int) -> int:
        """Note that a request is about to measure test images, once; return how many retrainings have so far.

        One that goes on after a kill has the plan that it began with. A request that comes again after another one is
        planned, trained and measured anew.

        Args:
            request: Whose.
            test: Digest of the test images.
            images: How many.
        """
        touches, plan = self.touches(), self._plan_digest(request)
        known = ((touch["request"], touch.get("plan"), touch["test"]) for touch in touches)  # early ones have no plan
        if (request.digest, plan, test) not in known:
            when = time.strftime("%Y-%m-%dT%H:%M:%S%z")
            touches.append({"request": request.digest, "plan": plan, "test": test, "images": images, "when": when})
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path / TOUCHES, "".join(json.dumps(touch) + "\n" for touch in touches))
        return len(touches)

    def _plan_digest(self, request: Request) -> str | None:
        file = self.place(request) / PLAN_FILE
        return hashlib.sha256(file.read_bytes()).hexdigest()[:12] if file.exists() else None

    def touches(self) -> list[dict[str, Any]]:
        """Return the notes of all retrainings of this run that measured test images."""
        file = self.path / TOUCHES
        try:
            return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
        except (OSError, ValueError) as error:
            raise RunError(
                f"{str(file)!r}, which counts uses of test images, is damaged ({error}); restore it"
            ) from None

    def publish(self, request: Request) -> None:
        """Put what a request has come to in place of what there was."""
        (self.place(request) / _COMPLETE).touch()
        self.finish()

    def finish(self) -> None:
        """Finish a `publish` that a kill cut short."""
        for place in sorted((self.path / _UNFINISHED).glob("*/")):
            if (place / _COMPLETE).exists():
                self._put(place)

    def _put(self, place: Path) -> None:
        # ``winner.json`` says that there is a winner: the old one goes first, the new one comes last.
        if (place / WINNER_FILE).exists():
            kept = {Path(name).parts[0] for name in read_winner_file(place)["weights"]}
            (self.path / WINNER_FILE).unlink(missing_ok=True)
            for old in self.path.glob("seed-*"):
                if old.name not in kept:
                    shutil.rmtree(old)
            for new in sorted(place.iterdir()):
                if new.name not in (_COMPLETE, WINNER_FILE, PLAN_FILE):
                    _replace(new, self.path / new.name)
            (place / WINNER_FILE).replace(self.path / WINNER_FILE)
        shutil.rmtree(place)


def _replace(new: Path, old: Path) -> None:
    if old.is_dir():
        shutil.rmtree(old)
    new.replace(old)
