"""Pieces of messages, each on one line."""

import os


def one_line(error: BaseException) -> str:
    """Return what an error says, on one line of at most 200 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"


def quoted(path: str | os.PathLike[str]) -> str:
    """Return a path in quotes, line breaks escaped."""
    return repr(os.fspath(path))
