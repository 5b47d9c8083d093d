"""What taught a policy: which evaluations' rewards moved the log-probability of a decision, and how far that holds."""

from nas_gym_agents.influence.of_run import influence_of, influence_of_run
from nas_gym_agents.influence.result import SOURCES, Influence, Share, Taught, Teacher
from nas_gym_agents.influence.words import account_of_influence

__all__ = [
    "SOURCES",
    "Influence",
    "Share",
    "Taught",
    "Teacher",
    "account_of_influence",
    "influence_of",
    "influence_of_run",
]
