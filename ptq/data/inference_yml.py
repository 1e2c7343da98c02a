"""What the ``inference.yml`` of PaddleX and PaddleOCR, or the like of other kits, says of preprocessing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quantizers.errors import ConfigError

from ..util.extras import import_extra
from .preprocessing import Preprocessing

__all__ = ["PictureRecipe", "find_recipe", "read_recipe"]

NAMES = ("inference.yml", "inference.yaml", "infer_cfg.yml", "deploy.yaml")
IGNORED = ("DetLabelEncode", "MultiLabelEncode", "ClsLabelEncode", "CTCLabelEncode", "KeepKeys", "ToCHWImage", "Permute", "ReadImage")
MOST_BYTES = 16 << 20
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FRACTION = re.compile(r"\s*([\d.eE+-]+)\s*/\s*([\d.eE+-]+)\s*")


@dataclass(frozen=True)
class PictureRecipe:
    """``preprocessing`` of pictures, and the ``characters`` that a recognition model knows, in order; none for other models."""

    file: Path
    preprocessing: Preprocessing
    characters: tuple[str, ...] = ()


def find_recipe(folder: Path) -> Path | None:
    """The file beside a model that describes its preprocessing; ``None`` where there is none."""
    return next((folder / name for name in NAMES if (folder / name).is_file()), None)


def read_recipe(file: Path) -> PictureRecipe:
    """Reads such a file.

    Raises:
        ConfigError: it is no YAML, or asks for a step that is not known.
        MissingExtraError: PyYAML is not installed.
    """
    content = _parsed(file)
    pre = content.get("PreProcess", content.get("Preprocess"))
    if pre is None and isinstance(content.get("Deploy"), Mapping):
        pre = {"transform_ops": content["Deploy"].get("transforms")}
    operations = pre.get("transform_ops") if isinstance(pre, Mapping) else pre
    if not isinstance(operations, list):
        raise ConfigError(f"{file} says nothing of preprocessing: no list PreProcess, transform_ops in it; {OUT}")
    steps = Preprocessing(scale=1.0)
    for entry in operations:
        name, options = _operation(file, entry)
        if name in IGNORED:
            continue
        if name not in OPERATIONS:
            raise ConfigError(f"{file} asks for {name}, which is not known here (known: {', '.join([*OPERATIONS, *IGNORED])}); {OUT}")
        try:
            steps = OPERATIONS[name](steps, options)
        except (TypeError, ValueError, KeyError, IndexError, ArithmeticError) as error:
            raise ConfigError(f"{file}: {name} has options that cannot be understood, {dict(options)!r:.200}; {OUT}") from error
    return PictureRecipe(file, steps, _characters(content))


OUT = "give --size, --mean and --std, and --no-recipe to leave the file alone"


def _parsed(file: Path) -> Mapping[str, Any]:
    yaml = import_extra("yaml", "pictures", "PyYAML")
    try:
        if file.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{file} is larger than any such file ({MOST_BYTES >> 20} MiB); {OUT}")
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"{file} cannot be read as YAML ({' '.join(str(error).split())[:200]}); {OUT}") from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"{file} holds no settings; {OUT}")
    return content


def _operation(file: Path, entry: Any) -> tuple[str, Mapping[str, Any]]:
    """``{Name: options}`` of PaddleClas and PaddleOCR, or ``{type: Name, option: ...}`` of PaddleDetection and PaddleSeg."""
    if isinstance(entry, Mapping) and "type" in entry:
        return str(entry["type"]), {key: value for key, value in entry.items() if key != "type"}
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((name, options),) = entry.items()
        if options is None or isinstance(options, Mapping):
            return str(name), options or {}
    raise ConfigError(f"{file} holds a step that is none: {entry!r:.200}; {OUT}")


def _decode(steps: Preprocessing, options: Mapping[str, Any]) -> Preprocessing:
    return replace(steps, bgr=str(options.get("img_mode", "RGB")).upper() == "BGR")


def _resize_image(steps: Preprocessing, options: Mapping[str, Any]) -> Preprocessing:
    if options.get("resize_short") is not None:
        return replace(steps, short=int(options["resize_short"]))
    return replace(steps, size=_square(options["size"], width_first=True))


def _crop(steps: Preprocessing, options: Mapping[str, Any]) -> Preprocessing:
    return replace(steps, size=_square(options["size"], width_first=True))


def _resize(steps: Preprocessing, options: Mapping[str, Any]) -> Preprocessing:
    """PaddleDetection counts height first, PaddleSeg width first; both are square in what they publish."""
    height, width = _square(options["target_size"])
    return replace(steps, size=(height, width), keep_ratio_pad=bool(options.get("keep_ratio", False)))


def _normalize(steps: Preprocessing, options: Mapping[str, Any]) -> Preprocessing:
    mean, std = options.get("mean", IMAGENET_MEAN), options.get("std", IMAGENET_STD)
    if options.get("norm_type") == "none":
        mean, std = (0.0,), (1.0,)
    scale = _number(options["scale"]) if options.get("scale") is not None else 1 / 255 if options.get("is_scale", True) else 1.0
    return replace(steps, mean=_numbers(mean), std=_numbers(std), scale=scale)


def _normalize_seg(steps: Preprocessing, options: Mapping[str, Any]) -> Preprocessing:
    return replace(steps, mean=_numbers(options.get("mean", 0.5)), std=_numbers(options.get("std", 0.5)), scale=1 / 255)


def _recognition(steps: Preprocessing, options: Mapping[str, Any]) -> Preprocessing:
    _, height, width = options["image_shape"]
    return replace(steps, size=(int(height), int(width)), keep_ratio_pad=True, mean=(0.5,), std=(0.5,), scale=1 / 255)


def _detection(steps: Preprocessing, options: Mapping[str, Any]) -> Preprocessing:
    if options.get("image_shape") is not None:
        return replace(steps, size=_square(options["image_shape"]))
    limit = options.get("resize_long") or options.get("limit_side_len") or 960
    return replace(steps, limit=int(limit), multiple=int(options.get("divisor", 32)))


OPERATIONS: dict[str, Callable[[Preprocessing, Mapping[str, Any]], Preprocessing]] = {
    "DecodeImage": _decode,
    "ResizeImage": _resize_image,
    "CropImage": _crop,
    "Resize": _resize,
    "NormalizeImage": _normalize,
    "Normalize": _normalize_seg,
    "RecResizeImg": _recognition,
    "DetResizeForTest": _detection,
}


def _square(size: Any, width_first: bool = False) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    first, second = (int(number) for number in size)
    return (second, first) if width_first else (first, second)


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(_number(value) for value in values) if isinstance(values, (list, tuple)) else (_number(values),)


def _number(value: Any) -> float:
    """A number, or a text like ``1./255.``."""
    match = FRACTION.fullmatch(value) if isinstance(value, str) else None
    return float(match[1]) / float(match[2]) if match else float(value)


def _characters(content: Mapping[str, Any]) -> tuple[str, ...]:
    post = content.get("PostProcess")
    found = post.get("character_dict") if isinstance(post, Mapping) else None
    return tuple(str(item) for item in found) if isinstance(found, list) else ()
