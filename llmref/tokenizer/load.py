"""Loading the tokenizer of any model: ours where it gives exactly the file's ids, else the library's."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmref.files import read_json
from llmref.tokenizer.bpe import Tokenizer
from llmref.tokenizer.files import LARGEST, Unexpected, added, ids, shaped, template
from llmref.tokenizer.library import LibraryTokenizer
from llmref.tokenizer.protocol import TextTokenizer
from llmref.tokenizer.settings import Settings, read_settings


def load_tokenizer(path: str | os.PathLike[str]) -> TextTokenizer:
    """Reads the tokenizer of a model, published or ours.

    A file of byte-level BPE is run by our own ``Tokenizer``, if that gives exactly the ids of the
    ``tokenizers`` library; any other by the library, as ``LibraryTokenizer``. What the folder's
    ``tokenizer_config.json`` says counts too:

    - ``add_bos_token`` says whether a text begins with the token of ``bos_token``; without it, the file's
      post-processor does.
    - Special is what the file marks special, what the settings name (``eos_token`` …), and every other added
      token that a chat template writes: where it marks a role, a user's text must not hold it.

    Args:
        path: A folder with a ``tokenizer.json``, or the file itself.

    Raises:
        FileNotFoundError: If there is no ``tokenizer.json``.
        ValueError: If it or the settings are too large, damaged or misshapen, or the library cannot run it.

    >>> from llmref.tiny import FOLDER
    >>> load_tokenizer(FOLDER).pieces([1331, 567])
    ['The', ' dog']
    """
    path = Path(path)
    file = path if path.is_file() else path / "tokenizer.json"
    if not file.is_file():
        raise FileNotFoundError(f"no checkpoint: {file} is missing")
    document, settings = read_json(file, LARGEST), read_settings(file.parent)
    try:
        special_names = set[str]()
        if settings is not None:
            with shaped("a tokenizer.json"):
                document, special_names = _apply(settings, document)
        try:
            return Tokenizer.from_document(document, special_names)
        except ValueError:
            return LibraryTokenizer(document, special_names)
    except ValueError as error:
        raise ValueError(f"{file}: {' '.join(str(error).split())[:500]}") from None


def _apply(settings: Settings, document: Any) -> tuple[Any, set[str]]:
    """The document with what the settings add to it, and the names that they make special."""
    known = {token["content"] for token in document["added_tokens"]}
    named = {*settings.names.values(), *settings.more_special}
    found = ids(document)
    more = [added(found[name], name) for name in sorted((named & found.keys()) - known)]
    written = "\n".join(settings.templates.values())
    marks = {name for name in known if name in written and not name.isspace()}
    changes = {
        "added_tokens": [*document["added_tokens"], *more],
        "post_processor": _post_processor(document.get("post_processor"), settings, found),
    }
    return document | changes, named | marks


def _post_processor(found: Any, settings: Settings, ids: Mapping[str, int]) -> Any:
    """What the file says, unless the settings say otherwise."""
    bos_token = settings.names.get("bos_token")
    if settings.add_bos_token and bos_token is not None:
        if bos_token not in ids:
            raise Unexpected(f"add_bos_token needs the bos_token {bos_token!r}, which has no id")
        return template((ids[bos_token],), {ids[bos_token]: bos_token})
    if found is None or settings.add_bos_token is False:
        return template((), {})
    return found
