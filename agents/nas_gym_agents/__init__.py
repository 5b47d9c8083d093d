"""The agents: controllers and baselines that search an environment."""
