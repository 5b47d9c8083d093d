"""Proxies against closed forms and brute force, and the evaluator around them."""

import math
from dataclasses import replace
from itertools import product
from typing import Any

import misbehaving
import numpy as np
import pytest
import torch
from networks import branches, chain, convnet, global_state, perceptron, trainer
from numpy.typing import NDArray

from nas_gym.architecture import Candidate, Operation
from nas_gym.builder import Network, build
from nas_gym.data import Dataset, load_dataset
from nas_gym.data.dataset import Split
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation import (
    PROXIES,
    Evaluation,
    Fidelity,
    HandedOver,
    ProcessEvaluator,
    ProxyEvaluator,
    evaluate,
    proxies,
    training,
)
from nas_gym.spaces import ChainSpace, Limits
from nas_gym.testing import random_walk
from nas_gym.testing_evaluators import check_evaluator

FLATTEN = Operation("flatten")


def scorer(dataset: Dataset, proxy: str, **options: Any) -> ProxyEvaluator:
    return ProxyEvaluator(dataset, proxy, device="cpu", **options)


def one(evaluator: ProxyEvaluator, candidate: Candidate, **how: Any) -> Evaluation:
    (evaluation,) = evaluate(evaluator, [candidate], **how)
    return evaluation


def linear(units: int) -> Operation:
    return Operation("linear", (("units", units),))


def network_of(candidate: Candidate, seed: int = 0) -> Network:
    network = build(candidate.architecture.canonical(), seed=seed)
    assert isinstance(network, Network)
    return network


def batch(n: int = 16, shape: tuple[int, ...] = (1, 8, 8)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(n)
    return torch.randn(n, *shape, generator=generator), torch.randint(0, 10, (n,), generator=generator)


def weights_of(network: Network) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.Linear)]
    return [(layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()) for layer in layers]


@pytest.mark.parametrize("proxy", PROXIES)
def test_the_contract(digits: Dataset, proxy: str) -> None:
    check_evaluator(
        lambda: scorer(digits, proxy, batch_size=32),
        [perceptron(), convnet(dropout=0.3), branches()],
        fidelity=Fidelity(epochs=3),
    )


@pytest.mark.parametrize("proxy", PROXIES)
def test_an_answer_tells_all(digits: Dataset, proxy: str) -> None:
    answer = one(scorer(digits, proxy), convnet())
    assert answer.ok and answer.proxy is not None and answer.accuracy is None and answer.curve == ()
    assert answer.parameters == convnet().architecture.parameters and answer.macs == convnet().architecture.macs
    assert answer.cost_seconds > 0 and answer.train_seconds == 0
    assert answer.device == "cpu" and torch.__version__ in answer.versions


def test_sizes_are_the_architecture_s(digits: Dataset) -> None:
    for candidate in (perceptron(), convnet(), branches(swapped=True)):  # the last one has dead operations
        canonical = candidate.architecture.canonical()
        assert one(scorer(digits, "parameters"), candidate).proxy == canonical.parameters
        assert one(scorer(digits, "macs"), candidate).proxy == canonical.macs


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_synflow_is_the_product_of_the_absolute_weights(activation: str) -> None:
    steps = [FLATTEN, linear(20), Operation("batch_norm"), Operation(activation), linear(7), linear(10)]
    network = network_of(chain((1, 8, 8), *steps))
    for layer in network.modules():
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.constant_(layer.bias, -5.0)  # biases are no part of the equation
    ones = np.ones(64)
    for weight, _ in weights_of(network):
        ones = np.abs(weight) @ ones
    before = [weight.clone() for weight in network.state_dict().values()]
    assert proxies.synflow(network, *batch()) == pytest.approx(math.log(3 * ones.sum()), rel=1e-12)
    assert all(torch.equal(*pair) for pair in zip(before, network.state_dict().values(), strict=True))


def test_synflow_of_convolutions_is_conserved() -> None:
    """Each layer on a single path has the same flow: R, the sum of the outputs (Tanaka et al., theorem 2)."""
    network = network_of(convnet(width=4))
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
                layer.weight.abs_()
            if isinstance(layer, torch.nn.Linear):
                layer.bias.zero_()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.forward = lambda values: values  # type: ignore[method-assign]
    flow = float(network(torch.ones(1, 1, 8, 8)).detach().sum())
    assert proxies.synflow(network_of(convnet(width=4)), *batch()) == pytest.approx(math.log(4 * flow), rel=1e-5)


def test_synflow_of_a_very_deep_network_is_finite() -> None:
    deep = chain((1, 8, 8), FLATTEN, *[linear(64)] * 100, linear(10))
    assert 100 < proxies.synflow(network_of(deep), *batch()) < math.inf


def test_grad_norm_of_a_linear_classifier_by_hand() -> None:
    network = network_of(chain((1, 8, 8), FLATTEN, linear(10)))
    images, targets = batch()
    ((weight, bias),) = weights_of(network)
    inputs = images.flatten(1).double().numpy()
    exponentials = np.exp(inputs @ weight.T + bias)
    errors = exponentials / exponentials.sum(1, keepdims=True) - np.eye(10)[targets.numpy()]
    expected = np.linalg.norm(errors.T @ inputs / len(inputs))
    assert proxies.grad_norm(network, images, targets) == pytest.approx(expected, rel=1e-5)


def test_grad_norm_adds_up_layers_and_leaves_batch_norm_out() -> None:
    network = network_of(convnet(width=4))
    images, targets = batch()
    torch.nn.functional.cross_entropy(network(images), targets).backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in network.parameters() if parameter.dim() > 1]
    expected = sum(float((gradient**2).sum()) ** 0.5 for gradient in gradients if gradient is not None)
    assert len(gradients) == 4
    assert proxies.grad_norm(network, images, targets) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh"])
def test_naswot_by_brute_force(activation: str) -> None:
    names = [linear(40), Operation(activation), linear(30), Operation(activation), linear(10)]
    network = network_of(chain((1, 8, 8), FLATTEN, *names))
    images, targets = batch(12)
    function = getattr(torch.nn.functional, activation)
    (first, first_bias), (second, second_bias), _ = weights_of(network)
    hidden = images.flatten(1).double().numpy() @ first.T + first_bias
    later = function(torch.from_numpy(hidden)).numpy() @ second.T + second_bias
    codes = np.concatenate([hidden > 0, later > 0], axis=1)
    kernel = np.zeros((12, 12))
    for i, j in product(range(12), repeat=2):
        kernel[i, j] = codes.shape[1] - sum(a != b for a, b in zip(codes[i], codes[j], strict=True))
    sign, expected = np.linalg.slogdet(kernel)
    assert sign == 1 and proxies.naswot(network, images, targets) == pytest.approx(expected, rel=1e-9)


def test_naswot_tells_no_two_equal_samples_apart() -> None:
    images, targets = batch(12)
    images[3] = images[7]
    assert proxies.naswot(network_of(perceptron(100)), images, targets) == -math.inf


def test_jacobians_of_a_linear_network_are_all_one() -> None:
    network, n, k = network_of(chain((1, 8, 8), FLATTEN, linear(10))), 16, 1e-5
    expected = -(math.log(n + k) + 1 / (n + k) + (n - 1) * (math.log(k) + 1 / k))
    assert proxies.jacobian_covariance(network, *batch(n)) == pytest.approx(expected, rel=1e-6)


def test_jacobian_covariance_by_brute_force() -> None:
    network = network_of(perceptron(50))
    images, targets = batch(12)
    (first, bias), (second, _) = weights_of(network)
    active = images.flatten(1).double().numpy() @ first.T + bias > 0
    jacobians = (active * second.sum(0)) @ first
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(jacobians))
    expected = -np.sum(np.log(eigenvalues + 1e-5) + 1 / (eigenvalues + 1e-5))
    assert proxies.jacobian_covariance(network, images, targets) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("proxy", PROXIES)
def test_the_default_catalogue(digits: Dataset, proxy: str) -> None:
    """Only what compares samples can fail, and only for networks that hardly do so."""
    space = ChainSpace((1, 8, 8), 10, limits=Limits(parameters=100_000, macs=400_000, resolution=2))
    rng = np.random.default_rng(0)
    answers = evaluate(scorer(digits, proxy), [space.candidate(random_walk(space, rng)) for _ in range(25)])
    failed = [answer for answer in answers if not answer.ok]
    assert all(answer.status == "diverged" and "is not finite: -inf" in answer.reason for answer in failed)
    assert len(failed) <= (8 if proxy in ("naswot", "jacobian_covariance") else 0)
    assert len({answer.proxy for answer in answers if answer.ok}) > 12


def test_a_score_that_is_not_finite_is_a_failure(digits: Dataset) -> None:
    failed = one(scorer(digits, "naswot"), chain((1, 8, 8), FLATTEN, linear(10)))
    assert (failed.status, failed.proxy) == ("diverged", None)
    assert failed.reason == "the proxy naswot of this network is not finite: -inf"


def test_failures_are_typed_and_leave_nothing_behind(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    before = global_state()
    failed = one(scorer(digits, "grad_norm"), perceptron(shape=(1, 9, 9)))
    assert failed.status == "invalid" and "RuntimeError" in failed.reason and global_state() == before

    def hungry(*given: Any) -> float:
        torch.rand(3)
        raise MemoryError

    monkeypatch.setitem(PROXIES, "grad_norm", hungry)
    failed = one(scorer(digits, "grad_norm"), perceptron())
    assert failed.status == "out_of_memory" and global_state() == before


def test_seed_and_repeat_change_weights_and_batch(digits: Dataset) -> None:
    answers = [
        one(scorer(digits, "grad_norm"), convnet()),
        one(scorer(digits, "grad_norm"), convnet(), repeat=1),
        one(scorer(digits, "grad_norm", evaluation_seed=1), convnet()),
        one(scorer(digits, "grad_norm", batch_size=32), convnet()),
    ]
    assert len({answer.proxy for answer in answers}) == 4
    cheap = one(scorer(digits, "grad_norm"), convnet(), fidelity=Fidelity(epochs=1))
    assert cheap.proxy == answers[0].proxy and cheap.fidelity == "epochs=1"


def test_the_network_is_the_one_that_would_be_trained(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    for module in (proxies, training):
        monkeypatch.setattr(module, "build", lambda architecture, seed: made.append((architecture, seed)))
    one(scorer(digits, "naswot", evaluation_seed=3), branches(), repeat=2)
    evaluate(trainer(digits, evaluation_seed=3), [branches()], repeat=2)
    assert len(made) == 2 and made[0] == made[1]


def test_all_candidates_see_one_batch_of_the_training_split(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    monkeypatch.setitem(PROXIES, "naswot", lambda network, inputs, targets: seen.append(inputs) or 1.0)
    empty = Split(digits.test.inputs[:1] * 0, digits.test.targets[:1])
    evaluate(scorer(digits, "naswot"), [perceptron(), convnet()])
    evaluate(scorer(replace(digits, validation=empty, test=empty), "naswot"), [perceptron()])
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[0], seen[2]) and len(seen[0]) == 64
    images, _ = digits.normalised("train")
    assert all((images == image).flatten(1).all(1).any() for image in seen[0])
    evaluate(scorer(digits, "naswot"), [perceptron()], repeat=1)
    assert not torch.equal(seen[0], seen[3])


def test_batch_norm_is_in_training_mode_and_dropout_off(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: dict[type, set[bool]] = {}

    def look(network: Network, inputs: torch.Tensor, targets: torch.Tensor) -> float:
        for layer in network.modules():
            modes.setdefault(type(layer), set()).add(layer.training)
        return 1.0

    monkeypatch.setitem(PROXIES, "naswot", look)
    one(scorer(digits, "naswot"), convnet(dropout=0.5))
    assert modes[torch.nn.BatchNorm2d] == {True} and modes[torch.nn.Dropout] == {False}


def test_identity_tells_what_decides(digits: Dataset) -> None:
    identity = scorer(digits, "synflow").identity
    assert identity == scorer(load_dataset("digits"), "synflow").identity and digits.fingerprint in identity
    changed = [
        scorer(digits, "naswot"),
        scorer(digits, "synflow", evaluation_seed=1),
        scorer(digits, "synflow", batch_size=32),
        scorer(load_dataset("digits", split_seed=1), "synflow"),
    ]
    assert len({identity, *(evaluator.identity for evaluator in changed)}) == 5
    assert scorer(digits, "synflow", batch_size=10**6).batch_size == len(digits.train)


def test_mistakes_are_named(digits: Dataset) -> None:
    with pytest.raises(ConfigurationError, match=r"one of parameters, .*, got 'flops'"):
        scorer(digits, "flops")
    for wrong in (1, 2.5, "many"):
        with pytest.raises(ConfigurationError, match="at least 2, got"):
            scorer(digits, "naswot", batch_size=wrong)
    with pytest.raises(ConfigurationError, match="try --device auto"):
        ProxyEvaluator(digits, "naswot", device="tpu")


def test_a_proxy_of_ones_own_goes_along_into_worker_processes(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROXIES, "depth", misbehaving.depth)
    mine = scorer(digits, "depth")
    with ProcessEvaluator(HandedOver(mine), 1) as pool:
        (there,) = evaluate(pool, [convnet()])
    assert there.ok and there.proxy == one(mine, convnet()).proxy == len(network_of(convnet()).layers)
