"""Reading a data file of the site: JSON that holds what it must."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machinery import SiteError


def entries(file: Path, folder: str, needed: Sequence[str], advice: str) -> dict[str, Any]:
    """A file's entries.

    Args:
        file: The file.
        folder: Its folder in the project, as an error names it.
        needed: The entries that it must have.
        advice: What to do where one is missing.

    Raises:
        SiteError: If it is no JSON, or lacks an entry.
    """
    where = f"{folder}/{file.name}"
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise SiteError(f"{where}:{error.lineno}: not JSON: {error.msg}") from error
    missing = [name for name in needed if name not in found]
    if missing:
        raise SiteError(f"{where}: no {', '.join(missing)}; {advice}")
    return found
