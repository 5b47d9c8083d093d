"""A Ray cluster as a program finds it: joined, measured, given a factory."""

import math
import os
import random
import socket
from typing import Any

import numpy as np

from nas_gym.errors import ConfigurationError
from nas_gym.evaluation.outcome import sentence

_PATIENCE_SECONDS = 5.0  # for somebody to listen at an address


def imported() -> Any:
    """Return the package ray.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        import ray
    except ImportError:
        raise ConfigurationError('Ray is not installed; pip install "nas-gym[ray]"') from None
    return ray


def connect(ray: Any, address: str) -> None:
    """Join a cluster, without its log, and leave the global random generators alone.

    Raises:
        ConfigurationError: There is none at the address, or it is of another version.
    """
    if "://" in address:
        raise ConfigurationError(f"Ray's client addresses are not supported, got {address!r}; search on a node of it")
    asked = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    missing = ConfigurationError(f'no Ray cluster at {asked!r}; start one with "ray start --head", or name its address')
    host, colon, port = asked.rpartition(":")
    if colon:  # Ray itself would take two minutes to find out, and then end the program
        try:
            socket.create_connection((host, int(port)), timeout=_PATIENCE_SECONDS).close()
        except (OSError, ValueError, OverflowError):
            raise missing from None
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002  which Ray draws names from
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (ConnectionError, ValueError, SystemExit):
        raise missing from None
    except RuntimeError as error:  # such as another version there
        raise ConfigurationError(f"the Ray cluster at {asked!r} can't be joined ({sentence(error)})") from None
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002


def held(ray: Any, cpus: float, gpus: float) -> int:
    """Return how many trainings the cluster's nodes hold at once.

    Raises:
        ConfigurationError: None.
    """
    nodes: list[dict[str, float]] = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wants = [(name, share) for name, share in (("CPU", cpus), ("GPU", gpus)) if share]
    # The sum over the nodes: a training does not span two. (A little more, for 0.3 / 0.1.)
    together = sum(min(math.floor(node.get(name, 0) / share + 1e-9) for name, share in wants) for node in nodes)
    if not together:
        asked = " and ".join(f"{share:g} {name}s" for name, share in wants)
        most = ", ".join(" and ".join(f"{node.get(name, 0):g} {name}s" for name, _ in wants) for node in nodes)
        raise ConfigurationError(f"a training asks for {asked}, but the cluster's nodes have {most}; ask for less")
    return together


def stored(ray: Any, factory: Any) -> Any:
    """Return the reference of a factory in the cluster's object store.

    Raises:
        ConfigurationError: It can't be pickled.
    """
    try:
        return ray.put(factory)
    except (TypeError, AttributeError) as error:
        raise ConfigurationError(f"the factory of Ray workers can't be pickled ({sentence(error)})") from None
