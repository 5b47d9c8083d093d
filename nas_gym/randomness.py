"""Seeds from facts, and contexts that leave the global random generators as they found them."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


def derived_seed(*facts: object) -> int:
    """Return a seed in [0, 2**63) that depends on all the facts and on nothing else (SHA-256 of their text)."""
    digest = hashlib.sha256("\n".join(map(repr, facts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextmanager
def isolated_generators(seed: int) -> Iterator[None]:
    """Seed Python's, numpy's and torch's global generators inside, and restore them on the way out.

    Stable-baselines3 and DEAP draw from global generators; inside this context they are deterministic, and
    what surrounds it does not notice. On CUDA the generators of all devices are restored too.
    """
    import torch

    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    cuda = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=cuda):
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            torch.manual_seed(seed)
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
