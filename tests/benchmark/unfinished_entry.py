"""An agent that its author has not finished."""

Agent = nothing  # type: ignore[name-defined]  # noqa: F821
