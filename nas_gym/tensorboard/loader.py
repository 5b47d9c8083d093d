"""What TensorBoard finds by the entry point ``tensorboard_plugins``.

An exception while this module is imported, or one in `fix_flags`, would end all of TensorBoard. So it imports nothing
else, and whatever is wrong with the tab costs the tab alone.
"""

import logging
from typing import Any

from tensorboard.plugins import base_plugin

from nas_gym.tensorboard import PLUGIN


class DecisionsLoader(base_plugin.TBLoader):  # type: ignore[misc]  # untyped
    """Makes the plugin, and asks TensorBoard to keep every record instead of a sample."""

    def fix_flags(self, flags: Any) -> None:
        """Keep all records of the tab unless ``--samples_per_plugin`` says otherwise."""
        samples = getattr(flags, "samples_per_plugin", None)
        if isinstance(samples, dict):
            samples.setdefault(PLUGIN, 0)

    def load(self, context: Any) -> Any:
        """Return the plugin, or None if it can't be loaded."""
        try:
            from nas_gym.tensorboard.plugin import DecisionsPlugin

            return DecisionsPlugin(context)
        except Exception:
            logging.getLogger(__name__).exception("the tab of nas-gym can't be loaded")
            return None
