"""Seeds from facts, and generators that are left as they were found."""

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas_gym.randomness import derived_seed, isolated_generators


def draws() -> tuple[float, float, float]:
    return random.random(), np.random.random(), float(torch.rand(()))  # noqa: NPY002


def states() -> tuple[Any, ...]:
    _, keys, place, *_ = np.random.get_state()  # noqa: NPY002
    return random.getstate(), bytes(keys), place, torch.get_rng_state().tolist()


def test_seeds_depend_on_the_facts_alone() -> None:
    facts = [(), (0,), (1,), ("0",), (0, 0), ("a", "b"), ("ab",), ("a\nb",), ("a", None), (0.0,), ("'a'\n'b'",)]
    seeds = [derived_seed(*fact) for fact in facts]
    assert len(set(seeds)) == len(facts) and all(0 <= seed < 2**63 for seed in seeds)
    assert derived_seed(np.int64(3), "k") == derived_seed(3, "k")


def test_seeds_never_change() -> None:
    assert derived_seed(0, "key", "full", 0) == 0x38FFA0FA6AB8F42A  # stores rest on it


@pytest.mark.parametrize("seed", [0, 1, 2**32 + 5, 2**63 - 1])
def test_inside_seeded_outside_untouched(seed: int) -> None:
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    expected = draws(), draws()
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    before = draws()
    with isolated_generators(seed):
        first = draws()
        torch.manual_seed(99)
    after = draws()
    assert (before, after) == expected
    with isolated_generators(seed):
        assert draws() == first
    with isolated_generators(seed + 1 if seed < 2**63 - 1 else 0):
        assert draws() != first


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_restored_after_errors(error: Any) -> None:
    before = states()
    with pytest.raises(error), isolated_generators(0):
        draws()
        raise error
    assert states() == before


def test_contexts_nest() -> None:
    with isolated_generators(1):
        first = draws()
        second = draws()
    with isolated_generators(1):
        assert draws() == first
        with isolated_generators(2):
            draws()
        assert draws() == second


def test_importing_needs_no_torch() -> None:
    program = "import sys, nas_gym.randomness; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[1])
