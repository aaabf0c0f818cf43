"""What the tests of the families ask the peer library."""

import json
from typing import Any

import transformers


def said_by_peer(model_type: str, **values: Any) -> dict[str, Any]:
    """The `config.json` that the peer library makes of these values; the ids of tokens are left out."""
    config = transformers.AutoConfig.for_model(model_type, **values)
    said = json.loads(config.to_json_string(use_diff=False))
    return {name: value for name, value in said.items() if not name.endswith("token_id")}
