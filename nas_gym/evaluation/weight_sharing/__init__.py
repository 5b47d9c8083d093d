"""One set of weights for all networks of a chain space: trained once, after which a network is scored by inference.

After ENAS (Pham et al. 2018, arXiv 1802.03268), which shares weights between the networks of a search, and single-path
one-shot (Guo et al. 2020, arXiv 1904.00420), which trains them on paths sampled uniformly, before and apart from the
search. Which operations share weights is said in `places`, how they are trained in `supernet`.
"""

from nas_gym.evaluation.weight_sharing.evaluator import SupernetEvaluator

__all__ = ["SupernetEvaluator"]
