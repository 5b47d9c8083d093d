"""Seeds from facts, and contexts that leave the global random generators as they found them."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral

import numpy as np


def derived_seed(*facts: object) -> int:
    """Return a seed in [0, 2**63) that depends on all the facts and on nothing else (SHA-256 of their text).

    Whole numbers count by value, whatever their type.
    """
    plain = [int(fact) if isinstance(fact, Integral) else fact for fact in facts]
    digest = hashlib.sha256("\n".join(map(repr, plain)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextmanager
def isolated_generators(seed: int) -> Iterator[None]:
    """Seed Python's, numpy's and torch's global generators inside, and restore them on the way out.

    Stable-baselines3 and DEAP draw from global generators; inside this context they are deterministic, and
    what surrounds it does not notice. That includes the generators of MPS and of CUDA devices, if CUDA is in use
    already: this context does not start it.
    """
    import torch

    mps = torch.backends.mps.is_available()
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    cuda = torch.cuda.default_generators if started else ()  # CUDA only
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    torch_states = [(generator, generator.get_state()) for generator in (torch.default_generator, *cuda)]
    mps_state = torch.mps.get_rng_state() if mps else None
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        for generator, _ in torch_states:
            generator.manual_seed(seed)
        if mps:
            torch.mps.manual_seed(seed)
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        for generator, state in torch_states:
            generator.set_state(state)
        if mps_state is not None:
            torch.mps.set_rng_state(mps_state)
