"""Structured pruning: what hangs together goes together, and torch's own counters agree."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas_gym.architecture import Architecture, Operation
from nas_gym.builder import Network, build
from nas_gym.errors import ConfigurationError, RunError
from nas_gym.spaces import ChainSpace
from nas_gym.winner.compression import pruning
from nas_gym.winner.compression.network import read_network, write_network
from nas_gym.winner.compression.pruning import Group, groups, left, pruned
from nas_gym.winner.compression.request import Request
from nas_gym.winner.compression.sensitivity import Advice, inspected, probed

pytest.importorskip("torch_pruning")
SHAPE = (1, 16, 16)


def conv(channels: int, source: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> Operation:
    settings = {"channels": channels, "kernel": kernel, "stride": stride, "groups": groups, "bias": 0}
    return Operation("conv", tuple(sorted(settings.items())), (source,))


def network(*operations: Operation, seed: int = 0) -> Network:
    made = build(Architecture(SHAPE, operations), seed=seed)
    assert isinstance(made, Network)
    for layer in made.layers:
        if isinstance(layer, nn.BatchNorm2d):  # as after a training: no channel is like another
            generator = torch.Generator().manual_seed(1)
            for values in (layer.weight.data, layer.bias.data, layer.running_mean):
                values += 0.3 * torch.randn(values.shape, generator=generator)
    return made.eval()


def residual() -> Network:
    """A convolution, a strided residual block, a depthwise and a 1×1 convolution, a flattened and a linear head."""
    return network(
        conv(24, -1), Operation("batch_norm", (), (0,)), Operation("relu", (), (1,)),
        conv(32, 2, stride=2), Operation("batch_norm", (), (3,)), Operation("relu", (), (4,)),
        conv(32, 5), Operation("batch_norm", (), (6,)),
        conv(32, 2, kernel=1, stride=2), Operation("batch_norm", (), (8,)),
        Operation("add", (), (7, 9)), Operation("relu", (), (10,)),
        conv(32, 11, groups=32), conv(48, 12, kernel=1),
        Operation("batch_norm", (), (13,)), Operation("relu", (), (14,)),
        Operation("max_pool", (("kernel", 2),), (15,)), Operation("flatten", (), (16,)),
        Operation("linear", (("units", 40),), (17,)), Operation("relu", (), (18,)),
        Operation("linear", (("units", 10),), (19,)),
    )  # fmt: skip


def counted(module: Network) -> tuple[int, int]:
    """Return parameters and multiply-accumulates of one sample as torch counts them."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros((1, *module.architecture.input_shape)))
    return sum(p.numel() for p in module.parameters()), counter.get_total_flops() // 2


def assert_counts(module: Network) -> None:
    assert (module.architecture.parameters, module.architecture.macs) == counted(module)


def test_what_is_added_or_convolved_depthwise_is_one_group() -> None:
    assert groups(residual()) == [
        Group((0,), 24), Group((3,), 32), Group((6, 8, 12), 32), Group((13,), 48), Group((18,), 40)
    ]  # fmt: skip


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.9])
def test_a_pruned_network_costs_what_torch_counts(ratio: float) -> None:
    whole = residual()
    before = copy.deepcopy(whole.state_dict())
    small = pruned(whole, dict.fromkeys(groups(whole), ratio))
    assert_counts(small)
    assert [group.channels for group in groups(small)] == [left(group.channels, ratio) for group in groups(whole)]
    assert small.architecture.macs < whole.architecture.macs
    assert small(torch.zeros((3, *SHAPE))).shape == (3, 10) and not small.training
    assert all(torch.equal(before[name], value) for name, value in whole.state_dict().items())


@pytest.mark.parametrize("seed", range(6))
def test_networks_of_the_search_space_can_be_pruned(seed: int) -> None:
    space, chance, prefix = ChainSpace(SHAPE, 10), np.random.default_rng(seed), ()
    while space.next_slot(prefix) is not None:
        prefix += (int(chance.choice(np.flatnonzero(space.legal(prefix)))),)
    whole = network(*space.candidate(prefix).trained.operations)
    small = pruned(whole, dict.fromkeys(groups(whole), 0.5))
    assert_counts(small)
    assert (small.architecture.parameters < whole.architecture.parameters) == bool(groups(whole))


def test_channels_that_do_nothing_go_first_and_are_not_missed() -> None:
    whole, dead = residual(), range(0, 32, 2)
    with torch.no_grad():
        # The 32 channels behind the addition: zero in the block, in its shortcut and in what reads them.
        for position in (6, 8):
            whole.layers[position].weight[dead] = 0
            normalised = whole.layers[position + 1]
            normalised.weight[dead], normalised.bias[dead], normalised.running_mean[dead] = 0, 0, 0
        whole.layers[13].weight[:, dead] = 0
    images = torch.randn((8, *SHAPE), generator=torch.Generator().manual_seed(0))
    group = Group((6, 8, 12), 32)
    small = pruned(whole, {group: 0.5})
    with torch.no_grad():
        torch.testing.assert_close(small(images), whole(images), atol=1e-4, rtol=1e-4)
    assert [small.layers[position].out_channels for position in (6, 8, 12)] == [16, 16, 16]
    assert small.layers[12].groups == 16


def test_nothing_is_pruned_by_a_ratio_of_nothing() -> None:
    whole = residual()
    images = torch.randn((4, *SHAPE), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(pruned(whole, dict.fromkeys(groups(whole), 0.0))(images), whole(images))


def test_a_network_without_hidden_channels_has_nothing_to_prune() -> None:
    assert groups(network(Operation("flatten"), Operation("linear", (("units", 10),), (0,)))) == []


def test_convolutions_in_several_groups_stay_as_they_are() -> None:
    whole = network(
        conv(16, -1), conv(16, 0, groups=4), Operation("global_average_pool", (), (1,)),
        Operation("linear", (("units", 10),), (2,)),
    )  # fmt: skip
    assert_counts(pruned(whole, dict.fromkeys(groups(whole), 0.5)))
    assert all(1 not in group.layers for group in groups(whole))


@pytest.mark.parametrize(
    ("channels", "ratio", "expected"),
    [(64, 0.5, 32), (64, 0.7, 16), (24, 0.5, 12), (4, 0.95, 1), (20, 0.0, 20), (1, 0.9, 1)],
)
def test_widths_fit_vector_units(channels: int, ratio: float, expected: int) -> None:
    assert left(channels, ratio) == expected


def test_a_pruned_network_is_the_same_from_its_file(tmp_path: Path) -> None:
    small = pruned(residual(), {Group((0,), 24): 0.5})
    write_network(tmp_path / "a.pt", small, accuracies=[0.5])
    again = read_network(tmp_path / "a.pt")
    images = torch.randn((4, *SHAPE), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(again(images), small(images))
    (tmp_path / "a.pt").write_bytes(b"no weights")
    with pytest.raises(RunError, match="can't be read"):
        read_network(tmp_path / "a.pt")


def test_important_layers_are_pruned_less() -> None:
    found = tuple(Group((place,), 8) for place in range(3))
    ratios = Advice(found, (0.3, 0.0, 0.1), "").ratios(0.4)
    assert [ratios[group] for group in found] == pytest.approx([0.3, 0.5, 0.4])
    assert set(Advice(found, (0.1, 0.1, 0.1), "").ratios(0.4).values()) == {0.4}, "equal ones share their rank"
    assert max(Advice(found, (0.3, 0.0, 0.1), "").ratios(0.9).values()) == 0.95
    assert Advice(found[:1], (0.2,), "").ratios(0.4) == {found[0]: 0.4}
    advice = Advice(found, (0.3, 0.0, 0.1), "x")
    assert Advice.from_json(json.loads(json.dumps(advice.to_json()))) == advice


def test_a_probe_prunes_half_of_one_group_at_a_time() -> None:
    whole, seen = residual(), list[tuple[int, ...]]()

    def accuracy(module: Network) -> float:
        seen.append(tuple(group.channels for group in groups(module)))
        return module.architecture.parameters / whole.architecture.parameters

    told = list[int]()
    advice = probed(whole, groups(whole), accuracy, lambda done, total: told.append(total - done))
    widths = [group.channels for group in groups(whole)]
    assert seen[0] == tuple(widths)
    for place, one in enumerate(seen[1:]):
        assert one == tuple(left(width, 0.5) if i == place else width for i, width in enumerate(widths))
    assert min(advice.lost) > 0 and told == [4, 3, 2, 1, 0]


def test_importances_of_an_inspection_are_advice(tmp_path: Path) -> None:
    found = [Group((0,), 8), Group((3, 6), 8)]
    file = tmp_path / "inspection" / "layers.json"
    assert inspected(tmp_path, "k", found) is None
    file.parent.mkdir()
    layers = [
        {"position": p, "lost_accuracy": 0.9, "matched_lost_accuracy": lost}
        for p, lost in ((0, 0.1), (3, 0.2), (6, 0.3))
    ]
    file.write_text(json.dumps({"schema": 1, "key": "k", "split": "validation", "layers": layers}))
    advice = inspected(tmp_path, "k", found)
    assert advice is not None and advice.lost == (0.1, 0.3) and "inspect" in advice.source
    assert inspected(tmp_path, "another", found) is None
    assert inspected(tmp_path, "k", [Group((9,), 8)]) is None, "a layer that it does not know"
    file.write_text(json.dumps({"schema": 1, "key": "k", "split": "test", "layers": layers}))
    assert inspected(tmp_path, "k", found) is None, "test images have no say"
    file.write_text("{}")
    with pytest.raises(RunError, match="damaged"):
        inspected(tmp_path, "k", found)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"ratios": (1.0,)}, "ratio"), ({"ratios": (0.0,)}, "ratio"), ({"ratios": (0.5, 0.501)}, "once"),
        ({"epochs": 0}, "epochs"), ({"minutes": 0.0}, "minutes"), ({"points": -1.0}, "points"),
        ({"threads": 0}, "threads"), ({"students": -1}, "students"), ({"temperature": 0.0}, "temperature"),
        ({"ratios": (), "students": 0, "quantise": False}, "nothing"),
    ],
)  # fmt: skip
def test_requests_that_make_no_sense(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Request(**wrong)  # type: ignore[arg-type]


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch_pruning", None)
    with pytest.raises(ConfigurationError, match=r'pip install "nas-gym\[compress\]"'):
        pruning.require_pruning()
