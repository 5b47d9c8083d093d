"""The environment ids, registered with Gymnasium as strings, so that importing nas_gym imports nothing heavy."""

import gymnasium as gym

CHAIN = "nas_gym/Chain-v0"
# Every other id is a row of `nas_gym_envs.presets.PRESETS`; a test keeps the two lists equal.
PRESET_IDS = (
    "nas_gym/Chain-Digits-v0",
    "nas_gym/Chain-MNIST-v0",
    "nas_gym/Chain-FashionMNIST-v0",
    "nas_gym/Chain-CIFAR10-v0",
)
IDS = (CHAIN, *PRESET_IDS)
_ENTRY_POINT = "nas_gym_envs.presets:make_chain"


def register() -> None:
    """Register all ids; a second call changes nothing."""
    for env_id in IDS:
        if env_id not in gym.registry:
            kwargs = {} if env_id == CHAIN else {"preset": env_id}
            gym.register(env_id, entry_point=_ENTRY_POINT, kwargs=kwargs)
