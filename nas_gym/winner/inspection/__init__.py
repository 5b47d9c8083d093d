"""Understanding the network that a run ends with: what `nas-gym inspect` measures, draws and says."""

from nas_gym.winner.inspection.layers import LayerImportance, layer_importances

__all__ = ["LayerImportance", "layer_importances"]
