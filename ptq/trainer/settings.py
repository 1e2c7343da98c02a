"""A configuration in YAML with PaddleSeg's keys; ``_base_`` names a file that it is laid over."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantizers.errors import ArtifactError, ConfigError

from ..util.extras import import_extra

__all__ = ["read_settings", "section", "typed"]

BASE = "_base_"
INHERIT = "_inherited_"  # False in a section: nothing of the base's section is kept
KEYS = (
    *("batch_size", "iters", "train_dataset", "val_dataset", "optimizer", "lr_scheduler", "learning_rate", "loss", "model"),
    *("qat", "seed", "test_config", "export"),
)


def read_settings(path: str | Path) -> dict[str, Any]:
    """The content of a configuration file, laid over the files that it names as its base.

    Raises:
        ArtifactError: a file is missing or cannot be read.
        ConfigError: it is not YAML, or holds a key that means nothing here.
        MissingExtraError: PyYAML is not installed.
    """
    found = _read(Path(path), ())
    unknown = found.keys() - set(KEYS)
    if unknown:
        raise ConfigError(f"{path}: unknown {', '.join(sorted(map(repr, unknown)))}; a configuration has {', '.join(KEYS)}")
    return found


def _read(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    yaml = import_extra("yaml", "train", "PyYAML")
    path = path.absolute()
    if path in above:
        raise ConfigError(f"{path}: {BASE} leads back to the file itself")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"the configuration {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a configuration is a mapping of keys such as train_dataset and model")
    base = content.pop(BASE, None)
    if base is None:
        return content
    if not isinstance(base, str):
        raise ConfigError(f"{path}: {BASE} must be the path of a file, got {base!r}")
    return _laid_over(_read(path.parent / base, (*above, path)), content)


def _laid_over(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        if isinstance(value, dict) and value.get(INHERIT, True) is False:
            merged[key] = {name: item for name, item in value.items() if name != INHERIT}
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _laid_over(merged[key], value)
        else:
            merged[key] = value
    return merged


def section(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A section as a dict of its own; raises ``ConfigError`` where it is missing or none."""
    found = settings.get(name)
    if not isinstance(found, Mapping):
        raise ConfigError(
            f"the configuration has no section {name!r}" if found is None else f"{name} must be a section, got {found!r:.100}"
        )
    return dict(found)


def typed(values: Any, where: str) -> tuple[str, dict[str, Any]]:
    """The ``type`` of a section, and what else it says."""
    if not isinstance(values, Mapping) or not isinstance(values.get("type"), str):
        raise ConfigError(f"{where} must be a section with a type, got {values!r:.100}")
    rest = dict(values)
    return rest.pop("type"), rest
