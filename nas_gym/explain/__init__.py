"""Explanations: exact attributions, the record of decisions, and accounts in words."""

from nas_gym.explain.record import Decision, DecisionLog, Header, read_decisions, read_header, unpack_mask
from nas_gym.explain.shapley import coalitions, interactions, shapley_values

__all__ = [
    "Decision",
    "DecisionLog",
    "Header",
    "coalitions",
    "interactions",
    "read_decisions",
    "read_header",
    "shapley_values",
    "unpack_mask",
]
