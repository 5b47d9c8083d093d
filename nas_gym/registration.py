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
# Environments over benchmark tables, and the names of the tables.
TABLE_IDS = {
    "nas_gym/Table-v0": "fashion-chain",
    "nas_gym/NB201-CIFAR10-v0": "nasbench201-cifar10",
    "nas_gym/NB201-CIFAR100-v0": "nasbench201-cifar100",
    "nas_gym/NB201-ImageNet16-v0": "nasbench201-imagenet16",
    "nas_gym/NBMacro-CIFAR10-v0": "nasbenchmacro-cifar10",
}
IDS = (CHAIN, *PRESET_IDS, *TABLE_IDS)
# What makes one environment, and what makes many at once (`gymnasium.make_vec`).
_ENTRY_POINTS = ("nas_gym_envs.presets:make_chain", "nas_gym_envs.presets:make_vector_chain")
_TABLE_ENTRY_POINTS = ("nas_gym_envs.tabular:make_table", "nas_gym_envs.tabular:make_vector_table")


def register() -> None:
    """Register all ids; a second call changes nothing."""
    for env_id in IDS:
        if env_id not in gym.registry:
            kwargs = {} if env_id == CHAIN else {"preset": env_id}
            one, many = _TABLE_ENTRY_POINTS if env_id in TABLE_IDS else _ENTRY_POINTS
            gym.register(env_id, entry_point=one, vector_entry_point=many, kwargs=kwargs)
