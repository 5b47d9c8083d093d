"""Which networks of the search learn from the winner: cheaper ones that nothing beats at their cost."""

from nas_gym.architecture import Architecture
from nas_gym.errors import NasGymError
from nas_gym.run import Ranked, Run

LEAST_LEARNED = 0.75  # of what the best network of the search knows above guessing: a student that learned less
# from the classes has too little room for what a teacher knows


def students(run: Run, teacher: Architecture, most: int) -> list[Ranked]:
    """Return up to so many networks of a search's Pareto fronts (accuracy over MACs, and over parameters).

    The i-th one (i = 1, 2, …) is the most accurate on the search's validation images of those with at most 2⁻ⁱ of the
    teacher's MACs and fewer parameters than it; none comes twice, and none whose accuracy is above guessing by less
    than three quarters of what the best of the search is.

    Args:
        run: The search.
        teacher: Architecture of the winner.
        most: How many.
    """
    front: dict[str, Ranked] = {}
    for cost in ("macs", "parameters"):
        try:
            front |= {one.candidate.key: one for one in run.pareto(cost)}
        except NasGymError:  # no network tells this cost
            continue
    guessing = 1 / teacher.output_shape[0]
    best = max((one.accuracy or 0.0 for one in front.values()), default=0.0)
    least = guessing + LEAST_LEARNED * (best - guessing)
    chosen: list[Ranked] = []
    for halvings in range(1, most + 1):
        fitting = [
            one
            for one in front.values()
            if one.candidate.trained.macs <= teacher.macs * 0.5**halvings
            and one.candidate.trained.parameters < teacher.parameters
            and (one.accuracy or 0.0) >= least
            and one not in chosen
        ]
        if fitting:
            chosen.append(min(fitting, key=lambda one: (-(one.accuracy or 0.0), one.candidate.key)))
    return chosen
