"""The benchmark: agents times seeds times environments, recorded evaluation by evaluation, and what follows from it.

`benchmark` runs a `Plan` and returns `Results`; ``nas-gym bench`` is the same from the command line. See
``docs/benchmark.md``.
"""

from nas_gym_agents.benchmark.plan import ALWAYS, EnvPlan, Plan
from nas_gym_agents.benchmark.results import Results
from nas_gym_agents.benchmark.running import benchmark

__all__ = ["ALWAYS", "EnvPlan", "Plan", "Results", "benchmark"]
