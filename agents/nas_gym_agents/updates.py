"""The ledger of a policy's updates: what is needed to teach the policy again, bit for bit, and to ask what taught it.

stable-baselines3's PPO and sb3-contrib's MaskablePPO learn from one rollout at a time. Between two rollouts the policy
is a function of the one before, of the rollout, and of the global generators that shuffle it. So the model as it was
before the first update and one file per update hold every policy there was (`nas_gym_agents.replay`).
"""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO

from nas_gym.errors import RunError
from nas_gym.explain.record import DecisionLog, write_atomically

UPDATES = "updates"  # in the folder of the decision log
START = "start.zip"
NOTE = "note.txt"
ALGORITHMS: dict[str, Any] = {"MaskablePPO": MaskablePPO, "PPO": PPO}
ROWS = ("observations", "actions", "rewards", "values", "log_probs", "advantages", "returns", "episode_starts")
UNKNOWN = -1  # in place of a step: nothing is known of it


@dataclass(frozen=True, eq=False)
class Update:
    """One update: the rollout it learned from, as stable-baselines3's buffer held it, and the state around it.

    Attributes:
        version: Policy updates before this one: the version of the policy that took the rollout's decisions.
        algorithm: One of `ALGORITHMS`.
        rows: Arrays of the buffer by name, (n_steps, n_envs, …); ``action_masks`` with MaskablePPO.
        global_steps: `Decision.global_step` of every row, int64 (n_steps, n_envs); `UNKNOWN` where there is none.
        progress: Share of the training that remained, in [0, 1]; schedules depend on it.
        n_updates: Epochs before it, as stable-baselines3 counts them.
        digest: `weights_digest` of the policy before it.
        numpy_state: Key of numpy's global generator (MT19937), uint32 (624,).
        numpy_rest: Its position, whether a Gaussian is kept, and that Gaussian; float64 (3,).
        torch_state: Of torch's global generator, uint8.
    """

    version: int
    algorithm: str
    rows: dict[str, NDArray[Any]] = field(repr=False)
    global_steps: NDArray[np.int64] = field(repr=False)
    progress: float
    n_updates: int
    digest: str
    numpy_state: NDArray[np.uint32] = field(repr=False)
    numpy_rest: NDArray[np.float64] = field(repr=False)
    torch_state: NDArray[np.uint8] = field(repr=False)

    @classmethod
    def of(cls, model: Any, version: int, global_steps: NDArray[np.int64]) -> "Update":
        """Return the update that a model is about to make; call it when the rollout's advantages are final."""
        buffer = model.rollout_buffer
        names = (*ROWS, "action_masks") if hasattr(buffer, "action_masks") else ROWS
        _, key, *rest = np.random.get_state()  # noqa: NPY002
        return cls(
            version=version,
            algorithm=type(model).__name__,
            rows={name: np.array(getattr(buffer, name)) for name in names},
            global_steps=global_steps,
            progress=1.0 - float(model.num_timesteps) / float(model._total_timesteps),  # as `learn` will set it
            n_updates=int(model._n_updates),
            digest=weights_digest(model.policy),
            numpy_state=np.array(key),
            numpy_rest=np.array([float(one) for one in rest]),
            torch_state=torch.get_rng_state().numpy().copy(),
        )

    def flat_steps(self) -> NDArray[np.int64]:
        """Return the global step of every row in the order of minibatches (`BaseBuffer.swap_and_flatten`)."""
        return self.global_steps.swapaxes(0, 1).reshape(-1)


def weights_digest(policy: torch.nn.Module) -> str:
    """Return a digest of a policy's weights, 16 hex digits; equal exactly if all bits are."""
    digest = hashlib.sha256()
    for name, value in policy.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


class UpdateLedger:
    """Keeps the updates of one training beside its decision log, each file written whole or not at all.

    Only PPO and MaskablePPO over flat arrays of observations are kept. Whatever can't be kept is noted in one sentence,
    which `read_updates` raises; a training is never disturbed.

    Args:
        log: The decision log; its folder may move. Without a folder, everything is kept in memory.
    """

    def __init__(self, log: DecisionLog) -> None:
        self._log = log
        self._start: bytes | None = None
        self._memory: list[Update] = []
        self._note, self._begun, self._ended = "", False, ""

    @property
    def folder(self) -> Path | None:
        """Where the files are; None: in memory."""
        return None if self._log.folder is None else self._log.folder / UPDATES

    def begin(self, model: Any) -> None:
        """Keep the model before its first update; at later calls of ``learn``, check that it is as it was left."""
        if self._begun:
            if self._start is not None and self._ended != weights_digest(model.policy):
                self._stop("the policy was changed between two calls of learn, so that its updates do not follow")
            return None
        self._begun = True
        if type(model) not in ALGORITHMS.values():
            return self._stop(f"updates are kept of PPO and MaskablePPO, not of {type(model).__name__}")
        if not isinstance(model.rollout_buffer.observations, np.ndarray):
            return self._stop("updates are kept where observations are arrays, not dictionaries of them")
        saved = io.BytesIO()
        try:
            model.save(saved)
        except Exception as error:  # whatever an argument of the user's that can't be pickled raises
            return self._stop(f"the model can't be saved ({type(error).__name__}: {error})".splitlines()[0])
        self._start = saved.getvalue()
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            for old in (*self.folder.glob("update-*.npz"), self.folder / NOTE):
                old.unlink(missing_ok=True)
            _write(self.folder / START, self._start)
        return None

    def update(self, model: Any, version: int, global_steps: list[int]) -> None:
        """Keep the update that the model is about to make.

        Args:
            model: With a full rollout buffer, late rewards settled.
            version: Updates before it.
            global_steps: Of the decisions in the buffer, row by row; another number of them: not known.
        """
        if self._start is None or self._note:
            return
        shape = model.rollout_buffer.advantages.shape
        known = len(global_steps) == shape[0] * shape[1]
        steps = np.array(global_steps).reshape(shape) if known else np.full(shape, UNKNOWN)
        update = Update.of(model, version, steps.astype(np.int64))
        if self.folder is None:
            self._memory.append(update)
        else:
            _write(self.folder / f"update-{version:06d}.npz", packed(update))

    def end(self, model: Any) -> None:
        """Note how a call of ``learn`` left the model."""
        if self._start is not None:
            self._ended = weights_digest(model.policy)

    def read(self) -> "Updates":
        """Return what was kept; see `read_updates`."""
        if self.folder is not None:
            return read_updates(self.folder)
        if self._start is None or self._note:
            raise RunError(self._note or "no policy has been taught yet, so that there are no updates")
        return Updates(self._start, tuple(self._memory))

    def _stop(self, reason: str) -> None:
        self._note = f"{reason}; what taught the policy can't be told"
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / NOTE, self._note)


@dataclass(frozen=True)
class Updates:
    """A training's updates, in order.

    Attributes:
        start: The model before the first one, as `save` of stable-baselines3 wrote it.
        parts: The updates, or the files they are in.
    """

    start: bytes = field(repr=False)
    parts: tuple[Path | Update, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, version: int) -> Update:
        part = self.parts[version]
        return part if isinstance(part, Update) else unpacked(part)

    def __iter__(self) -> Iterator[Update]:
        return (self[version] for version in range(len(self)))


def read_updates(folder: Path) -> Updates:
    """Return the updates in a folder.

    Raises:
        RunError: None were kept, or they are damaged; the sentence says why.
    """
    if (folder / NOTE).is_file():
        raise RunError((folder / NOTE).read_text(encoding="utf-8"))
    if not (folder / START).is_file():
        raise RunError(
            f"no updates of a policy are kept in {str(folder)!r}: the search is from before there were such, or its "
            "agent is neither maskable-ppo nor ppo; search again with one of these"
        )
    parts = sorted(folder.glob("update-*.npz"))
    if [part.name for part in parts] != [f"update-{version:06d}.npz" for version in range(len(parts))]:
        raise RunError(f"the updates in {str(folder)!r} have gaps; restore them or search again")
    return Updates((folder / START).read_bytes(), tuple(parts))


def packed(update: Update) -> bytes:
    """Return an update as the bytes of an ``.npz`` file.

    Observations that are whole numbers in [0, 255], as one-hot ones are, become uint8, masks bits.
    """
    rows = dict(update.rows)
    seen = rows.pop("observations")
    whole = bool(((seen >= 0) & (seen <= 255) & (seen == np.floor(seen))).all())
    arrays: dict[str, Any] = {
        "observations": seen.astype(np.uint8) if whole else seen,
        "observations_dtype": str(seen.dtype),
        **{f.name: getattr(update, f.name) for f in update.__dataclass_fields__.values() if f.name != "rows"},
    }
    if "action_masks" in rows:
        masks = rows.pop("action_masks")
        arrays |= {"masks": np.packbits(masks > 0, axis=-1), "n_actions": masks.shape[-1]}
    arrays |= {f"row_{name}": values for name, values in rows.items()}
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def unpacked(path: Path) -> Update:
    """Return the update in a file.

    Raises:
        RunError: The file is damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            data = {name: file[name] for name in file.files}
        rows = {name.removeprefix("row_"): data.pop(name) for name in list(data) if name.startswith("row_")}
        rows["observations"] = data.pop("observations").astype(str(data.pop("observations_dtype")))
        if "masks" in data:
            n_actions = int(data.pop("n_actions"))
            rows["action_masks"] = np.unpackbits(data.pop("masks"), axis=-1, count=n_actions).astype(np.float32)
        plain = {name: values.item() if values.ndim == 0 else values for name, values in data.items()}
        return Update(rows=rows, **plain)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(f"{str(path)!r} is damaged ({error}); restore it or search again") from None


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_bytes(content)
    unfinished.replace(path)
