"""Numbers that stand in for the accuracy without any training: at best they rank networks, they measure none.

To add one, write a function from a fresh network and a batch to a number, and put it into `PROXIES`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from copy import deepcopy
from numbers import Integral

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nas_gym.architecture import Candidate
from nas_gym.builder import MODULES, Network, build
from nas_gym.data.dataset import Dataset, Split
from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.evaluation import FULL, Evaluation, Fidelity, resolved
from nas_gym.evaluation.loop import DivergedError
from nas_gym.evaluation.outcome import scored
from nas_gym.evaluation.process import prepared
from nas_gym.evaluation.training import choose_device
from nas_gym.operations import ACTIVATIONS
from nas_gym.randomness import derived_seed

# From a network with fresh weights, images (n, *input_shape) and classes int64 (n,) to a number: more is better.
# Batch normalisation is in training mode, dropout is off. The network may be left changed.
Proxy = Callable[[Network, Tensor, Tensor], float]

_ACTIVATION_MODULES = tuple(type(MODULES[kind]({}, ())) for kind in ACTIVATIONS)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def parameters(network: Network, inputs: Tensor, targets: Tensor) -> float:
    """Return the number of trainable parameters: the baseline that every other proxy has to beat."""
    return float(network.architecture.parameters)


def macs(network: Network, inputs: Tensor, targets: Tensor) -> float:
    """Return the multiply-accumulates for one sample."""
    return float(network.architecture.macs)


def grad_norm(network: Network, inputs: Tensor, targets: Tensor) -> float:
    """Return the sum over layers of the Euclidean norm of the gradient of their weights, for one batch's loss.

    Abdelfattah et al. 2021, "Zero-Cost Proxies for Lightweight NAS" (arXiv 2101.08134), section 3.2.1. Layers are the
    convolutions and linear layers, the loss is the mean cross-entropy.
    """
    weights = [layer.weight for layer in _weighted(network)]
    gradients = torch.autograd.grad(functional.cross_entropy(network(inputs), targets), weights)
    return sum(float(gradient.double().norm()) for gradient in gradients)


def synflow(network: Network, inputs: Tensor, targets: Tensor) -> float:
    """Return the natural logarithm of the synaptic flow summed over all weights.

    Tanaka et al. 2020, "Pruning neural networks without any data by iteratively conserving synaptic flow" (arXiv
    2006.05467), section 6: R = 1ᵀ (∏ |W_l|) 1, and the flow of a weight is w · ∂R/∂w; its sum as a score of networks
    is that of Abdelfattah et al. 2021 (arXiv 2101.08134), section 3.2.2.

    R is the sum of the outputs for an input of ones, with the absolute values of all weights. As in the public code
    of the latter paper, batch normalisation is left out. So that R is the product above whatever the activation,
    activations (which for ReLU change nothing, since every value is positive) and biases are left out too. The
    arithmetic is in float64 on the CPU, for R grows exponentially with depth; the logarithm keeps the ranking.
    """
    linear = deepcopy(network).to("cpu", torch.float64)
    linear.layers = nn.ModuleList(
        [nn.Identity() if isinstance(layer, _ACTIVATION_MODULES + _BATCH_NORMS) else layer for layer in linear.layers]
    )
    weights = [layer.weight for layer in _weighted(linear)]
    with torch.no_grad():
        for layer in _weighted(linear):
            layer.weight.abs_()
            if layer.bias is not None:
                layer.bias.zero_()
    total = linear(torch.ones(1, *network.architecture.input_shape, dtype=torch.float64)).sum()
    gradients = torch.autograd.grad(total, weights)
    flow = sum(float((weight.detach() * gradient).sum()) for weight, gradient in zip(weights, gradients, strict=True))
    return math.log(flow) if flow > 0 else -math.inf


def naswot(network: Network, inputs: Tensor, targets: Tensor) -> float:
    """Return log |det K_H|, how differently the activations of a fresh network react to the samples of a batch.

    Mellor et al. 2021, "Neural Architecture Search without Training" (arXiv 2006.04647), section 3: the code c_i of
    sample i has a bit for every ReLU, whether it is active, and K_H[i, j] = N - hamming(c_i, c_j) for N bits. For other
    activations, which have no such regions, the bit is the sign of what the activation is given: the same for ReLU.
    Minus infinity if the matrix is singular: without activations, for one, or with two samples of one code.
    """
    kernel = np.zeros((len(inputs), len(inputs)))
    with torch.no_grad(), _recording(network) as codes:
        network(inputs)
    for active in codes:
        bits = active.flatten(1).double().cpu().numpy()
        kernel += bits @ bits.T + (1 - bits) @ (1 - bits).T  # equal bits: N - hamming, exact in float64
    eigenvalues = np.linalg.eigvalsh(kernel)
    rounding = len(kernel) * np.finfo(np.float64).eps * eigenvalues[-1]  # as in numpy's matrix_rank
    return float(np.sum(np.log(eigenvalues))) if eigenvalues[0] > rounding else -math.inf


def jacobian_covariance(network: Network, inputs: Tensor, targets: Tensor) -> float:
    """Return how little the Jacobians of the samples of a batch correlate.

    Mellor et al., the first version of the same paper (arXiv 2006.04647v1), section 3, known as jacob_cov: from the
    eigenvalues v of the correlation matrix of the gradients of the summed outputs by the samples,
    the score is -Σ (log(v + k) + 1 / (v + k)) with k = 1e-5.
    """
    samples = inputs.clone().requires_grad_()
    (jacobians,) = torch.autograd.grad(network(samples).sum(), samples)
    return _correlation_score(jacobians.flatten(1).double().cpu().numpy())


def _correlation_score(jacobians: NDArray[np.float64]) -> float:
    """Return the score of Jacobians, shape (samples, values); minus infinity where one is constant."""
    centred = jacobians - jacobians.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    if not (lengths > 1e-6 * np.linalg.norm(jacobians, axis=1, keepdims=True)).all():
        return -math.inf
    correlations = (centred / lengths) @ (centred / lengths).T
    eigenvalues = np.clip(np.linalg.eigvalsh(correlations), 0, None) + 1e-5  # rounding alone makes them negative
    return -float(np.sum(np.log(eigenvalues) + 1 / eigenvalues))


PROXIES: dict[str, Proxy] = {
    "parameters": parameters,
    "macs": macs,
    "grad_norm": grad_norm,
    "synflow": synflow,
    "naswot": naswot,
    "jacobian_covariance": jacobian_covariance,
}


class ProxyEvaluator:
    """Scores every candidate by a proxy instead of training it; an answer has a `proxy` and no accuracy.

    What is scored is the network that `TrainingEvaluator` with the same seed would begin to train: the canonical
    architecture, with weights seeded by evaluation seed, key and repeat. All candidates see one batch of the
    training split, drawn by evaluation seed and repeat; test and validation split are not touched. Fidelities are told
    in the answer and change nothing. A score that is not finite is a failure, ``"diverged"``.

    Args:
        dataset: The training split is used.
        proxy: A name of `PROXIES`.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        evaluation_seed: Seeds weights and the batch.
        batch_size: Samples of the batch, at least 2; no more than the training split has.

    Raises:
        ConfigurationError: The proxy or the device is unknown, or the batch size out of range.
    """

    def __init__(
        self, dataset: Dataset, proxy: str, *, device: str = "auto", evaluation_seed: int = 0, batch_size: int = 64
    ) -> None:
        if proxy not in PROXIES:
            raise ConfigurationError(f"proxy is one of {', '.join(PROXIES)}, got {proxy!r}")
        if not _at_least_two(batch_size):
            raise ConfigurationError(f"a proxy's batch_size is a whole number, at least 2, got {batch_size!r}")
        self.dataset = dataset
        self.proxy = proxy
        self._function = PROXIES[proxy]  # pickled along: a worker process knows none that was added here
        self.device = choose_device(device)
        self.evaluation_seed = evaluation_seed
        self.batch_size = min(int(batch_size), len(dataset.train))
        self._batches: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def identity(self) -> str:
        """Proxy, data, batch size, seed and kind of device."""
        data = f"{self.dataset.name}:{self.dataset.fingerprint}"
        settings = f"batch_size={self.batch_size} seed={self.evaluation_seed}"
        return f"proxy/1 {self.proxy} {data} {settings} {self.device.type}"

    def submit(
        self, candidates: Sequence[Candidate], *, fidelity: Fidelity | None = None, repeat: int = 0
    ) -> list[Future[Evaluation]]:
        """Score the candidates one after the other; the futures are resolved."""
        return [resolved(self._evaluated(candidate, fidelity or FULL, int(repeat))) for candidate in candidates]

    def _evaluated(self, candidate: Candidate, fidelity: Fidelity, repeat: int) -> Evaluation:
        return scored(candidate, fidelity, repeat, self.device, lambda: {"proxy": self._score(candidate, repeat)})

    def _score(self, candidate: Candidate, repeat: int) -> float:
        seed = derived_seed(self.evaluation_seed, candidate.key, str(FULL), repeat)
        with prepared(seed):
            network = build(candidate.trained, seed=seed).to(self.device).train()
            for layer in network.modules():
                if isinstance(layer, nn.Dropout):
                    layer.eval()
            assert isinstance(network, Network), "what the builder makes"
            score = self._function(network, *self._batch(repeat))
        if not math.isfinite(score):
            raise DivergedError(f"the proxy {self.proxy} of this network is not finite: {score}")
        return score

    def _batch(self, repeat: int) -> tuple[Tensor, Tensor]:
        if repeat not in self._batches:
            generator = torch.Generator().manual_seed(derived_seed(self.evaluation_seed, "proxy batch", repeat))
            train = self.dataset.train
            chosen = torch.randperm(len(train), generator=generator)[: self.batch_size]
            part = Split(train.inputs[chosen], train.targets[chosen])
            self._batches[repeat] = self.dataset.normalised(part, device=self.device)
        return self._batches[repeat]


def _at_least_two(value: object) -> bool:
    return isinstance(value, Integral) and int(value) >= 2


def _weighted(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """Return the convolutions and linear layers, in the order of the operations."""
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


@contextmanager
def _recording(network: nn.Module) -> Iterator[list[Tensor]]:
    """Give a list that gets, while the network runs, which values every activation is given are positive."""
    codes: list[Tensor] = []

    def record(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        codes.append(given[0] > 0)

    handles = [
        layer.register_forward_pre_hook(record) for layer in network.modules() if isinstance(layer, _ACTIVATION_MODULES)
    ]
    try:
        yield codes
    finally:
        for handle in handles:
            handle.remove()
