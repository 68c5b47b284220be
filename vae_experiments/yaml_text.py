"""Reading YAML. Imports no more than that takes: completion is waited for."""

from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the first, which needs libyaml, is ten times as fast


def parse_yaml(text: str) -> Any:
    """What a YAML document says, in plain containers. Raises yaml.YAMLError."""
    return yaml.load(text, _LOADER)  # noqa: S506
