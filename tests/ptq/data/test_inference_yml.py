"""What model kits write beside their models becomes the same preprocessing."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptq.data.inference_yml import find_recipe, read_recipe
from ptq.data.preprocessing import Preprocessing
from ptq.util.extras import MissingExtraError
from quantizers.errors import ConfigError

pytest.importorskip("yaml", reason="PyYAML is not installed (extra pictures)")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLASSIFIER = """
PreProcess:
  transform_ops:
  - ResizeImage: {resize_short: 256}
  - CropImage: {size: 224}
  - NormalizeImage: {channel_num: 3, mean: [0.485, 0.456, 0.406], order: '', scale: 0.00392156862745098, std: [0.229, 0.224, 0.225]}
  - ToCHWImage: null
PostProcess:
  Topk: {topk: 5, label_list: [cat, dog]}
"""
DIRECTION = """
PreProcess:
  transform_ops:
  - ResizeImage: {size: [160, 80]}
  - NormalizeImage: {mean: [0.485, 0.456, 0.406], scale: 1.0/255.0, std: [0.229, 0.224, 0.225]}
  - ToCHWImage:
"""
DETECTION = """
PreProcess:
  transform_ops:
  - DecodeImage: {channel_first: false, img_mode: BGR}
  - DetLabelEncode: null
  - DetResizeForTest: {resize_long: 960}
  - NormalizeImage: {mean: [0.485, 0.456, 0.406], order: hwc, scale: 1./255., std: [0.229, 0.224, 0.225]}
  - ToCHWImage: null
  - KeepKeys: {keep_keys: [image, shape]}
"""
RECOGNITION = """
PreProcess:
  transform_ops:
  - DecodeImage: {channel_first: false, img_mode: BGR}
  - MultiLabelEncode: {gtc_encode: NRTRLabelEncode}
  - RecResizeImg: {image_shape: [3, 48, 320]}
  - KeepKeys: {keep_keys: [image]}
PostProcess:
  name: CTCLabelDecode
  character_dict: ['0', 'a', "'", 字]
"""
OBJECTS = """
Preprocess:
- {interp: 2, keep_ratio: false, target_size: [640, 512], type: Resize}
- {mean: [0.0, 0.0, 0.0], norm_type: none, std: [1.0, 1.0, 1.0], type: NormalizeImage}
- {type: Permute}
"""
SEGMENTS = """
Deploy:
  transforms:
  - {target_size: [512, 512], type: Resize}
  - {type: Normalize}
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CLASSIFIER, Preprocessing(size=(224, 224), short=256, mean=MEAN, std=STD, scale=0.00392156862745098)),
        (DIRECTION, Preprocessing(size=(80, 160), mean=MEAN, std=STD)),
        (DETECTION, Preprocessing(limit=960, multiple=32, mean=MEAN, std=STD, bgr=True)),
        (RECOGNITION, Preprocessing(size=(48, 320), keep_ratio_pad=True, mean=(0.5,), std=(0.5,), bgr=True)),
        (OBJECTS, Preprocessing(size=(640, 512))),
        (SEGMENTS, Preprocessing(size=(512, 512), mean=(0.5,), std=(0.5,))),
    ],
    ids=["classifier", "direction", "detection", "recognition", "objects", "segments"],
)
def test_recipes(tmp_path: Path, text: str, expected: Preprocessing) -> None:
    (tmp_path / "inference.yml").write_text(text, encoding="utf-8")
    found = find_recipe(tmp_path)
    assert found is not None
    assert read_recipe(found).preprocessing == expected


def test_the_characters_of_a_recognition_model(tmp_path: Path) -> None:
    file = tmp_path / "inference.yml"
    file.write_text(RECOGNITION, encoding="utf-8")
    assert read_recipe(file).characters == ("0", "a", "'", "字")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1", "cannot be read as YAML"),
        ("- 1", "holds no settings"),
        ("Global: {}", "says nothing of preprocessing"),
        ("PreProcess: {transform_ops: [7]}", "a step that is none: 7"),
        ("PreProcess: {transform_ops: [{RandomErase: {}}]}", "asks for RandomErase, which is not known"),
        ("PreProcess: {transform_ops: [{ResizeImage: {size: wide}}]}", "ResizeImage has options that cannot be understood"),
        ("PreProcess: {transform_ops: [{NormalizeImage: {scale: 1/0}}]}", "NormalizeImage has options"),
        ("PreProcess: !!python/object/apply:os.getcwd []", "cannot be read as YAML"),
    ],
)
def test_what_cannot_be_understood_is_named_with_the_way_out(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "inference.yml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=says) as error:
        read_recipe(file)
    assert "--no-recipe" in str(error.value)
    assert "inference.yml" in str(error.value)


def test_no_file_is_no_recipe(tmp_path: Path) -> None:
    assert find_recipe(tmp_path) is None


def test_a_missing_parser_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    file = tmp_path / "inference.yml"
    file.write_text(CLASSIFIER, encoding="utf-8")
    with pytest.raises(MissingExtraError, match=r"PyYAML is not installed; run: pip install 'paddle-ptq\[pictures\]'"):
        read_recipe(file)
