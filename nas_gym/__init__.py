"""Neural architecture search as a Gymnasium environment, with every decision of the controller explained."""

__version__ = "0.1.0"
