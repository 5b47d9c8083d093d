"""What a search takes over from another: its policy's weights, or its evaluations, as far as the decisions agree."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas_gym.errors import ConfigurationError
from nas_gym.history import Episode, read_history
from nas_gym.run_directory import HISTORY, POLICY, read_run_file
from nas_gym.spaces import Slot

if TYPE_CHECKING:
    from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
    from torch import Tensor

FIRST = ("mlp_extractor.policy_net.0.weight", "mlp_extractor.value_net.0.weight")
LAST = ("action_net.weight", "action_net.bias")
Match = dict[int, tuple[int, dict[int, int]]]


@dataclass(frozen=True)
class WarmStart:
    """What was read of another run.

    Attributes:
        run: Its directory.
        slots: What its decisions fill.
        digest: Of all that was read; 16 hex digits.
        episodes: Its evaluated episodes, in order; empty if the policy is what counts.
        weights: Its policy's, by name; empty if the evaluations are what counts.
    """

    run: str
    slots: tuple[Slot, ...]
    digest: str
    episodes: tuple[Episode, ...] = ()
    weights: Mapping[str, "Tensor"] = field(default_factory=dict, repr=False)

    def to_json(self) -> dict[str, str]:
        """Return what a run file says of it."""
        return {"run": self.run, "digest": self.digest}

    def carry_policy(self, model: "OnPolicyAlgorithm", slots: Sequence[Slot]) -> None:
        """Give a fresh policy the weights of the other, as far as slots and choices have the same names.

        Inputs are carried over by slot and choice; hidden layers and the critic whole; an output, which stands for an
        action whatever the slot, where all slots that agree name the same action of the other. The rest stays as it is.
        """
        import torch

        state, match = model.policy.state_dict(), matched(self.slots, slots)
        columns = _columns(self.slots, slots, match)
        rows = _rows(match)
        with torch.no_grad():
            for name, fresh in state.items():
                if name in FIRST:
                    for old, new in columns:
                        fresh[:, new] = self.weights[name][:, old]
                elif name in LAST:
                    for old, new in rows:
                        fresh[new] = self.weights[name][old]
                else:
                    fresh.copy_(self.weights[name])
        model.policy.load_state_dict(state)


def read_warm_start(path: str | Path, agent: Any, slots: Sequence[Slot]) -> WarmStart:
    """Return what an agent takes over from a run.

    Args:
        path: The run's directory.
        agent: The agent; ``warm_start_from`` says what it takes over, ``"policy"`` or ``"evaluations"``.
        slots: Of the new search.

    Raises:
        ConfigurationError: The agent takes nothing over, or nothing agrees.
        RunError: There is no such run, or it is damaged.
    """
    kind = getattr(agent, "warm_start_from", None)
    if kind is None:
        raise ConfigurationError(
            f"{agent.name!r} can't be warm-started: maskable-ppo and ppo can, from a policy, model-ppo from evaluations"
        )
    folder = Path(path)
    content = read_run_file(folder)
    theirs = tuple([Slot(slot["name"], tuple(slot["choices"])) for slot in content["slots"]])
    if not matched(theirs, slots):
        raise ConfigurationError(
            f"the run {str(folder)!r} decides nothing that this search decides: no slot and choice have the same names "
            f"(there {', '.join(slot.name for slot in theirs)}; here {', '.join(slot.name for slot in slots)})"
        )
    if kind == "policy":
        weights, read = _weights(folder, theirs, agent)
        return WarmStart(str(folder), theirs, _digest(content["slots"], read), weights=weights)
    episodes = tuple([episode for episode in read_history(folder / HISTORY) if episode.key is not None])
    if not episodes:
        raise ConfigurationError(f"the run {str(folder)!r} has evaluated nothing yet; wait for it or name another")
    told = [[episode.actions, episode.slots, episode.reward] for episode in episodes]
    return WarmStart(str(folder), theirs, _digest(content["slots"], json.dumps(told).encode()), episodes)


def matched(theirs: Sequence[Slot], ours: Sequence[Slot]) -> Match:
    """Return from each slot of theirs that has a namesake to that, and from actions to those of the same choice."""
    places = {slot.name: place for place, slot in enumerate(ours)}
    found: Match = {}
    for old, slot in enumerate(theirs):
        if slot.name in places:
            new = places[slot.name]
            choices = {choice: action for action, choice in enumerate(ours[new].choices)}
            actions = {action: choices[choice] for action, choice in enumerate(slot.choices) if choice in choices}
            if actions:
                found[old] = new, actions
    return found


def _digest(slots: Any, read: bytes) -> str:
    return hashlib.sha256(json.dumps(slots, sort_keys=True).encode() + b"\n" + read).hexdigest()[:16]


def _weights(folder: Path, slots: Sequence[Slot], agent: Any) -> tuple[dict[str, "Tensor"], bytes]:
    """Return a saved policy's weights, and the bytes they were read from."""
    import pickle

    import torch

    place = folder / POLICY
    try:
        with zipfile.ZipFile(place) as archive:
            read = archive.read("policy.pth")
        weights = torch.load(io.BytesIO(read), map_location="cpu", weights_only=True)
        shapes = {name: tuple(weights[name].shape) for name in (*FIRST, *LAST)}
    except FileNotFoundError:
        raise ConfigurationError(
            f"the run {str(folder)!r} has no policy; warm-start from a run of maskable-ppo, ppo or model-ppo"
        ) from None
    except (OSError, zipfile.BadZipFile, KeyError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigurationError(f"the policy {str(place)!r} can't be used ({reason}); name another run") from None
    n_inputs = sum(1 + len(slot.choices) for slot in slots)
    for name in FIRST:
        if shapes[name] != (agent.hidden, n_inputs):
            raise ConfigurationError(
                f"the policy of {str(folder)!r} has {shapes[name][0]} hidden units and {shapes[name][1]} inputs, "
                f"needed are {agent.hidden} and {n_inputs}; set --agent-arg hidden={shapes[name][0]} or name another"
            )
    return weights, read


def _columns(theirs: Sequence[Slot], ours: Sequence[Slot], match: Match) -> list[tuple[int, int]]:
    """Return pairs of input places that mean the same: a slot's "undecided", and its choices."""
    starts, others = _starts(theirs), _starts(ours)
    pairs = []
    for old, (new, actions) in match.items():
        pairs.append((starts[old], others[new]))
        pairs += [(starts[old] + 1 + action, others[new] + 1 + other) for action, other in actions.items()]
    return pairs


def _starts(slots: Sequence[Slot]) -> list[int]:
    sizes = [1 + len(slot.choices) for slot in slots]
    return [sum(sizes[:place]) for place in range(len(sizes))]


def _rows(match: Match) -> list[tuple[int, int]]:
    """Return pairs of actions on which all slots that agree are of one mind."""
    found: dict[int, set[int]] = {}
    for _, actions in match.values():
        for action, other in actions.items():
            found.setdefault(other, set()).add(action)
    return [(min(actions), other) for other, actions in found.items() if len(actions) == 1]
