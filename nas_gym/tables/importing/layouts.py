"""Layouts of files that are known by their columns, so that a name is all that their import needs.

``nasbench201-cifar10`` of a Parquet of all cells is what this command makes without the short cut::

    nas-gym table import nasbench201_cifar10.parquet --name nasbench201-cifar10 --kind nasbench201 \
        --decision op_0to1 --decision op_0to2 --decision op_1to2 \
        --decision op_0to3 --decision op_1to3 --decision op_2to3 \
        --reward epochs=12=cifar10_val_12ep --reward full=cifar10_val_200ep \
        --score test=cifar10_test_200ep --score validation=cifar10_val_200ep \
        --cost "epochs=12=12*train_s_per_epoch_cifar10valid+2.5*eval_s_per_10k_images" \
        --cost "full=200*train_s_per_epoch_cifar10valid+2.5*eval_s_per_10k_images" \
        --parameters params_cifar10 --macs flops_cifar10 --devices latency_help.parquet

and ``nasbenchmacro-cifar10``, where one training is what a search sees and the other two are its score::

    nas-gym table import nas_bench_macro_cifar10.parquet --name nasbenchmacro-cifar10 \
        --decision "layer 1=layer0" … --decision "layer 8=layer7" \
        --choices "layer0=0:Identity,1:MB3_K3,2:MB6_K5" … --choices "layer7=0:Identity,1:MB3_K3,2:MB6_K5" \
        --reward full=cifar10_test_seed0 --score "test=0.5*cifar10_test_seed1+0.5*cifar10_test_seed2" \
        --parameters params --macs flops
"""

from collections.abc import Collection
from typing import NamedTuple

from nas_gym.spaces.cell import EDGES
from nas_gym.tables.benchmark import CELL
from nas_gym.tables.importing.columns import Decision, Layout

NASBENCH201_FACTS = {
    "citation": "X. Dong, Y. Yang, NAS-Bench-201, ICLR 2020, arXiv 2001.00326; "
    "X. Dong et al., NATS-Bench, TPAMI 2021, arXiv 2009.00437",
    "licence": "MIT",
}
MACRO_FACTS = {
    "citation": "X. Su et al., Prioritized Architecture Sampling with Monto-Carlo Tree Search, CVPR 2021, "
    "arXiv 2103.11922",
    "licence": "Apache-2.0",
}
MACRO_BLOCKS = ("Identity", "MB3_K3", "MB6_K5")  # as the benchmark names its codes 0, 1 and 2
MACRO_LAYERS = 8


class Known(NamedTuple):
    """A layout and the name of the table that it is for."""

    name: str
    layout: Layout


def known_layout(columns: Collection[str]) -> Known | None:
    """Return the layout of a file with these columns, if it is known: all columns that it needs are there."""
    return next((known for known in KNOWN if _needed(known.layout) <= set(columns)), None)


def _needed(layout: Layout) -> set[str]:
    named = {decision.column for decision in layout.decisions}
    named |= {column for columns in layout.rewards.values() for column in columns}
    for text in (*layout.scores.values(), *layout.costs.values()):
        named |= {term.rpartition("*")[2] for term in text.split("+")}
    return (named | {layout.parameters, layout.macs}) - {""}


_SECONDS = "train_s_per_epoch_cifar10valid+2.5*eval_s_per_10k_images"  # 2.5: one pass over 25,000 validation images

KNOWN = (
    Known(
        "nasbench201-cifar10",
        Layout(
            kind=CELL,
            decisions=tuple(Decision(f"op_{start}to{end}") for start, end in EDGES),
            rewards={"epochs=12": ("cifar10_val_12ep",), "full": ("cifar10_val_200ep",)},
            scores={"test": "cifar10_test_200ep", "validation": "cifar10_val_200ep"},
            costs={"epochs=12": f"12*{_SECONDS}", "full": f"200*{_SECONDS}"},
            device_file="latency_help.parquet",
            parameters="params_cifar10",
            macs="flops_cifar10",
            facts=NASBENCH201_FACTS | {"default_fidelity": "epochs=12", "default_score": "test"},
        ),
    ),
    Known(
        "nasbenchmacro-cifar10",
        Layout(
            decisions=tuple(
                Decision(f"layer{i}", f"layer {i + 1}", ("0", "1", "2"), MACRO_BLOCKS) for i in range(MACRO_LAYERS)
            ),
            rewards={"full": ("cifar10_test_seed0",)},
            scores={"test": "0.5*cifar10_test_seed1+0.5*cifar10_test_seed2"},
            parameters="params",
            macs="flops",
            facts=MACRO_FACTS | {"default_fidelity": "full", "default_score": "test"},
        ),
    ),
)
"""Layouts that `known_layout` recognises."""
