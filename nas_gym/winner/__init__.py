"""What comes after a search: naming the winner, training it for long, and what is made of it.

Nothing here imports upward: a run's environment is made by Gymnasium from the id in its settings.
"""

from nas_gym.winner.result import Winner, load_winner

__all__ = ["Winner", "load_winner"]
