"""Neural architecture search as a Gymnasium environment, with every decision of the controller explained.

Importing this package registers its environments with Gymnasium and imports neither torch nor stable-baselines3.
"""

from typing import TYPE_CHECKING, Any

from nas_gym.registration import IDS, register

if TYPE_CHECKING:
    from nas_gym.run import Run

__version__ = "0.1.0"
__all__ = ["IDS", "__version__", "load"]

register()


def load(run_dir: Any) -> "Run":
    """Return the run in a directory: best candidates, history, decisions, trained module; see `nas_gym.run.Run`.

    Raises:
        RunError: The directory is no run.
    """
    from nas_gym.run import Run

    return Run(run_dir)
