"""Reading the JSON files that the steps after a search leave behind."""

import json
from pathlib import Path
from typing import Any

from nas_gym.errors import RunError


def read_record(file: Path, schema: int, mend: str) -> dict[str, Any] | None:
    """Return the object in a JSON file of this schema; None: there is no such file.

    Args:
        file: The file.
        schema: What its ``schema`` says.
        mend: What to do where it is damaged, as the end of the sentence.

    Raises:
        RunError: It can't be read, is no JSON object, or is of another schema.
    """
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["schema"] != schema:
            raise ValueError(f"schema {content['schema']}")
        return dict(content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{str(file)!r} is damaged ({error!r}); {mend}") from None
