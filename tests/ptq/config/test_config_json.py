"""Configs as JSON: what is written is read again as an equal config, and anything else is refused by name."""

from __future__ import annotations

import contextlib
import copy
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import converted, data, small_net
from paddle import nn

from ptq import PTQConfig, PTQRegistry, QuantOverride
from ptq.config.config import FORMAT, TARGET_NAMES, VERSION
from quantizers import (
    AbsmaxQuantizer,
    AutoQuantizer,
    AvgAbsmaxQuantizer,
    BaseQuantizer,
    EMDQuantizer,
    HistQuantizer,
    KLQuantizer,
    MinMaxQuantizer,
    MovingAverageAbsmaxQuantizer,
    MSEQuantizer,
    PerChannelAbsmaxQuantizer,
    PerChannelHistQuantizer,
    PerChannelMSEQuantizer,
)
from quantizers.errors import ArtifactError, ConfigError, CorruptArtifactError

few = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])

BITS = st.integers(2, 16)
PLAIN = st.one_of(
    st.builds(AbsmaxQuantizer, BITS),
    st.builds(MinMaxQuantizer, BITS, symmetric=st.none() | st.booleans()),
    st.builds(AvgAbsmaxQuantizer, BITS),
    st.builds(KLQuantizer, BITS, st.sampled_from([1024, 4096])),
    st.builds(MSEQuantizer, BITS, max_samples_per_item=st.none() | st.integers(1024, 4096)),
    st.builds(EMDQuantizer, BITS),
    st.builds(HistQuantizer, BITS, hist_percent=st.floats(0.5, 1.0)),
)
ACTIVATION = st.one_of(
    PLAIN,
    st.builds(MovingAverageAbsmaxQuantizer, BITS),
    st.builds(AutoQuantizer, BITS, candidates=st.none() | st.lists(PLAIN, min_size=1, max_size=3)),
)
WEIGHT = st.one_of(
    PLAIN,
    st.builds(PerChannelAbsmaxQuantizer, BITS),
    st.builds(PerChannelMSEQuantizer, BITS, quant_axis=st.none() | st.integers(-2, 2)),
    st.builds(PerChannelHistQuantizer, BITS, st.floats(0.5, 1.0)),
)
OVERRIDE = st.builds(
    QuantOverride, st.none() | BITS, st.none() | BITS, st.none() | ACTIVATION, st.none() | WEIGHT, st.none() | st.booleans()
)
CLASSES = st.sampled_from([nn.Layer, nn.Linear, nn.Conv2D, nn.ReLU, nn.Sequential, nn.TransformerEncoderLayer, *PTQRegistry._infos])
KEYS = st.text().filter(lambda key: not key.startswith("re:")) | st.from_regex(r"re:[a-z]{0,5}(\.\*)?\$?", fullmatch=True) | CLASSES
CONFIGS = st.builds(
    lambda *rules, where, **more: PTQConfig(*rules, placement=where[0], target=where[1], **more),
    st.none() | ACTIVATION,
    st.none() | WEIGHT,
    where=st.sampled_from([("compute", "any"), *(("full", target) for target in TARGET_NAMES)]),
    overrides=st.none() | st.dictionaries(KEYS, st.none() | OVERRIDE, max_size=4),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda items: st.lists(items, max_size=3) | st.dictionaries(st.text(max_size=8), items, max_size=3),
    max_leaves=8,
)


def _rich() -> PTQConfig:
    return PTQConfig(
        AutoQuantizer(),
        PerChannelMSEQuantizer(6),
        placement="full",
        overrides={
            "head.*": None,
            r"re:layer[12]\..*conv": QuantOverride(activation_bits=4, weight_quantizer=MSEQuantizer(5), per_channel=True),
            nn.Linear: QuantOverride(activation_quantizer=HistQuantizer(7)),
            "head.0": QuantOverride(),
        },
    )


@few
@given(CONFIGS)
def test_what_is_written_is_read_as_an_equal_config(config: PTQConfig) -> None:
    text = json.dumps(config.to_dict(), allow_nan=False)
    again = PTQConfig.from_dict(json.loads(text))
    assert again == config
    assert list(again.overrides) == list(config.overrides)  # in their order
    assert json.dumps(again.to_dict()) == text


@few
@given(CONFIGS, CONFIGS)
def test_configs_are_equal_when_their_json_is(one: PTQConfig, other: PTQConfig) -> None:
    assert (one == other) == (json.dumps(one.to_dict()) == json.dumps(other.to_dict()))
    assert one == copy.deepcopy(one)


def test_per_channel_activations_are_written_where_they_are_off() -> None:
    assert "per_channel_activations" not in PTQConfig().to_dict()
    off = PTQConfig(per_channel_activations=False)
    assert off != PTQConfig()
    assert PTQConfig.from_dict(off.to_dict()) == off
    with pytest.raises(ConfigError, match="per_channel_activations must be True or False"):
        PTQConfig(per_channel_activations=1)  # type: ignore[arg-type]


def test_the_file_by_hand(tmp_path: Path) -> None:
    """A file as a person would write it: what is left out has its default."""
    path = tmp_path / "config.json"
    path.write_text(
        """{"format": "paddle-ptq config", "version": 1, "placement": "full",
            "weight_quantizer": {"type": "PerChannelMSEQuantizer"},
            "overrides": [{"name": "head.*", "override": null},
                          {"class": "paddle.nn:Linear", "override": {"weight_bits": 4}}]}"""
    )
    expected = PTQConfig(
        None, PerChannelMSEQuantizer(), placement="full", overrides={"head.*": None, nn.Linear: QuantOverride(weight_bits=4)}
    )
    assert PTQConfig.from_json(path) == expected


def test_a_config_from_a_file_quantizes_alike(tmp_path: Path) -> None:
    config = PTQConfig(
        AbsmaxQuantizer(), placement="full", overrides={"re:conv[12]$": QuantOverride(activation_bits=5, per_channel=False), "fc": None}
    )
    config.to_json(tmp_path / "new" / "config.json")
    assert os.listdir(tmp_path / "new") == ["config.json"]
    x, model = data(4, 3, 6, 6), small_net()
    again = PTQConfig.from_json(str(tmp_path / "new" / "config.json"))
    answers = [converted(model, x, config=each, fuse=True)(x).numpy() for each in (config, again)]
    assert (answers[0] == answers[1]).all()


# equality


@pytest.mark.parametrize(
    "other",
    [
        PTQConfig(KLQuantizer(7)),
        PTQConfig(MSEQuantizer()),
        PTQConfig(None, PerChannelMSEQuantizer()),
        PTQConfig(placement="full"),
        PTQConfig(placement="full", target="openvino"),
        PTQConfig(overrides={"fc": None}),
        "config",
    ],
    ids=["bits", "activation", "weight", "placement", "target", "overrides", "text"],
)
def test_configs_that_differ(other: object) -> None:
    assert PTQConfig() != other
    assert PTQConfig() == PTQConfig(KLQuantizer(), PerChannelAbsmaxQuantizer(), overrides={})


def test_the_order_of_overrides_is_part_of_a_config() -> None:
    one, other = {"a": None, "b": QuantOverride()}, {"b": QuantOverride(), "a": None}
    assert PTQConfig(overrides=one) != PTQConfig(overrides=other)


# what cannot be written


class Unregistered(AbsmaxQuantizer):
    pass


class OtherSettings(AbsmaxQuantizer):
    def settings(self) -> dict[str, Any]:
        return {"type": "AbsmaxQuantizer", "quant_bits": self.quant_bits}


class OwnLayer(nn.Linear):
    pass


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (PTQConfig(Unregistered()), "Unregistered cannot be written as JSON: decorate the class with quantizers.register_quantizer"),
        (PTQConfig(OtherSettings()), "OtherSettings cannot be written"),
        (PTQConfig(None, BaseQuantizer()), "BaseQuantizer cannot be written"),
        (PTQConfig(overrides={"a": QuantOverride(weight_quantizer=Unregistered())}), "Unregistered cannot be written"),
        (PTQConfig(AutoQuantizer(candidates=[Unregistered()])), "AutoQuantizer cannot be written"),
        (PTQConfig(overrides={OwnLayer: None}), "OwnLayer cannot be written as JSON: only classes of paddle.nn and those registered"),
    ],
    ids=lambda value: None if isinstance(value, PTQConfig) else value[:20],
)
def test_what_has_no_name_is_refused(config: PTQConfig, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        config.to_json(tmp_path / "config.json")
    assert not list(tmp_path.iterdir())


def test_quantizers_of_one_config_that_differ() -> None:
    config = PTQConfig()
    config.out_act_quantizer = MSEQuantizer()
    with pytest.raises(ConfigError, match="made to differ"):
        config.to_dict()


def test_a_registered_class_of_the_user() -> None:
    config = PTQConfig(overrides={OwnLayer: QuantOverride(weight_bits=4)})
    PTQRegistry.register(OwnLayer)
    try:
        values = config.to_dict()
        assert values["overrides"][0]["class"] == f"{__name__}:OwnLayer"
        assert PTQConfig.from_dict(values) == config
    finally:
        PTQRegistry.unregister(OwnLayer)
    with pytest.raises(ConfigError, match=r"no class '.*:OwnLayer' in paddle.nn or registered"):
        PTQConfig.from_dict(values)


def test_a_constructor_of_the_user_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_self: Any, quant_bits: int = 8) -> None:
        raise {8: ZeroDivisionError, 9: TypeError}[quant_bits]("no")

    monkeypatch.setattr(EMDQuantizer, "__init__", fail)
    for bits, name in ((8, "ZeroDivisionError"), (9, "TypeError"), (10, "KeyError")):
        with pytest.raises(ConfigError, match=f"no quantizer has the settings .*EMDQuantizer.*: {name}"):
            PTQConfig.from_dict(_changed(activation_quantizer={"type": "EMDQuantizer", "quant_bits": bits}))


# what is refused


def _changed(**changes: Any) -> dict[str, Any]:
    return {**_rich().to_dict(), **changes}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "not a config of this project"),
        ([], "not a config of this project"),
        ({}, "not a config of this project: expected an object with 'format'"),
        (_changed(format="onnx"), "not a config of this project"),
        (_changed(version=VERSION + 1), "this config has version 2, this paddle-ptq reads up to 1: upgrade"),
        (_changed(version=0), "version must be a whole number"),
        (_changed(version=True), "version must be"),
        (_changed(version="1"), "version must be"),
        ({"format": FORMAT}, "version must be .* got None"),
        (_changed(placement="everywhere"), "placement must be one of"),
        (_changed(placement=None), "placement must be one of"),
        (_changed(placement=[]), "placement must be one of"),
        (_changed(target="tpu"), "target must be one of any, onnxruntime, openvino, paddle_inference, got 'tpu'"),
        (_changed(target=["any"]), "target must be one of"),
        (_changed(placement="compute", target="openvino"), "pass 'full'"),
        (_changed(bits=8), "a config has no 'bits'; it has placement"),
        (_changed(activation_quantizer=None), "settings must be an object"),
        (_changed(activation_quantizer={}), "unknown quantizer type None"),
        (_changed(activation_quantizer={"type": "os.system"}), "unknown quantizer type 'os.system'"),
        (_changed(activation_quantizer={"type": "KLQuantizer", "quant_bits": 99}), "quant_bits must be in"),
        (_changed(activation_quantizer={"type": "KLQuantizer", "bins": []}), ""),
        (_changed(activation_quantizer={"type": "AutoQuantizer", "candidates": 3}), "candidates"),
        (_changed(activation_quantizer={"type": "PerChannelMSEQuantizer"}), "is for weights"),
        (_changed(overrides={"fc": None}), "overrides must be a list"),
        (_changed(overrides=[None]), "an entry of overrides has"),
        (_changed(overrides=[{"name": "fc"}]), "an entry of overrides has"),
        (_changed(overrides=[{"name": "fc", "class": "paddle.nn:Linear", "override": None}]), "an entry of overrides has"),
        (_changed(overrides=[{"name": 3, "override": None}]), "3 is no name"),
        (_changed(overrides=[{"name": [], "override": None}]), r"\[\] is no name"),
        (_changed(overrides=[{"name": "fc", "override": None}] * 2), "'fc' is no name, or there twice"),
        (_changed(overrides=[{"name": "re:(", "override": None}]), "is not a regular expression"),
        (_changed(overrides=[{"name": "fc", "override": 4}]), "an override must be null or an object"),
        (
            _changed(overrides=[{"name": "fc", "override": {"bits": 4}}]),
            "an override must be null or an object with some of activation_bits",
        ),
        (_changed(overrides=[{"name": "fc", "override": {"weight_bits": "4"}}]), "weight_bits"),
        (_changed(overrides=[{"name": "fc", "override": {"weight_quantizer": "KLQuantizer"}}]), "settings must be an object"),
        (_changed(overrides=[{"class": "os:system", "override": None}]), "no class 'os:system' in paddle.nn"),
        (_changed(overrides=[{"class": "paddle.nn:initializer", "override": None}]), "no class"),
        (_changed(overrides=[{"class": "paddle.nn:ParamAttr", "override": None}]), "no class"),
        (_changed(overrides=[{"class": None, "override": None}]), "no class None"),
    ],
)
def test_values_that_are_no_config(values: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        PTQConfig.from_dict(values)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=f"config.json: .*{message}"):
        PTQConfig.from_json(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not valid JSON"),
        (b"{", "is not valid JSON"),
        (b"\xff\xfe", "is not valid JSON"),
        (b'{"version": NaN}', "NaN is no JSON number"),
        (b'{"format": 1, "format": 2}', "has one name twice"),
        (b"1" * 5000, "is not valid JSON"),
        (b"[" * 200_000, "is not valid JSON"),
    ],
    ids=["empty", "cut", "bytes", "nan", "twice", "long number", "deep"],
)
def test_damaged_files(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(CorruptArtifactError, match=f"config.json {message}|{message}"):
        PTQConfig.from_json(path)


@pytest.mark.parametrize("depth", [1, 50, 200, 300, 320, 330, 400, 480])
def test_quantizers_within_quantizers(depth: int, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    inner = '{"type": "AutoQuantizer", "candidates": [' * depth + '{"type": "KLQuantizer"}' + "]}" * depth
    path.write_text(f'{{"format": "{FORMAT}", "version": 1, "activation_quantizer": {inner}}}')
    _file_is_read_or_refused(path)


def test_values_without_end() -> None:
    endless: list[Any] = []
    for _ in range(100_000):
        endless = [endless]
    for values in (endless, _changed(overrides=endless), _changed(activation_quantizer={"type": "KLQuantizer", "bins": endless})):
        with pytest.raises(ConfigError):
            PTQConfig.from_dict(values)


def test_paths(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"missing\.json cannot be read"):
        PTQConfig.from_json(tmp_path / "missing.json")
    with pytest.raises(ArtifactError, match="not a plain file"):
        PTQConfig.from_json(tmp_path)
    with pytest.raises(ArtifactError, match="not a plain file"):
        PTQConfig.from_json("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArtifactError, match="not a plain file"):
        PTQConfig.from_json(tmp_path / "pipe")
    (tmp_path / "file").write_text("")
    for bad in (tmp_path, tmp_path / "file" / "config.json", f"{tmp_path}/a\0b"):
        with pytest.raises(ArtifactError, match="cannot be written"):
            PTQConfig().to_json(bad)
    for bad in (None, 3, "", b"config.json"):
        with pytest.raises(ConfigError, match="must be the path of a file"):
            PTQConfig.from_json(bad)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="must be the path of a file"):
            PTQConfig().to_json(bad)  # type: ignore[arg-type]
    assert sorted(os.listdir(tmp_path)) == ["file", "pipe"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.json"
    PTQConfig().to_json(path)
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(ArtifactError, match=r"config.json cannot be written: .*No space left"):
            _rich().to_json(path)
    assert os.listdir(tmp_path) == ["config.json"]
    assert path.read_bytes() == before
    _rich().to_json(path)
    assert PTQConfig.from_json(path) == _rich()


# nothing but named errors


@few
@given(JSON, st.data())
def test_a_value_changed_anywhere_is_read_or_refused(value: Any, draw: st.DataObject) -> None:
    values = _rich().to_dict()
    place: Any = values
    while True:
        key = draw.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], (dict, list)) or not place[key] or draw.draw(st.booleans()):
            break
        place = place[key]
    if draw.draw(st.booleans()):
        place[key] = value
    else:
        del place[key]
    _read_or_refused(values)


@few
@given(JSON)
def test_any_json_is_read_or_refused(value: Any) -> None:
    _read_or_refused(value)
    _read_or_refused({"format": FORMAT, "version": VERSION, "overrides": value})
    _read_or_refused({"format": FORMAT, "version": VERSION, "activation_quantizer": value})


def _read_or_refused(values: Any) -> None:
    with contextlib.suppress(ConfigError):
        config = PTQConfig.from_dict(values)
        again = PTQConfig.from_dict(config.to_dict())
        assert again == config


@few
@given(st.integers(0, 4000), st.binary(min_size=1, max_size=3), st.booleans())
def test_bytes_changed_anywhere_are_read_or_refused(tmp_path: Path, position: int, piece: bytes, cut: bool) -> None:
    path = tmp_path / "config.json"
    _rich().to_json(path)
    content = path.read_bytes()
    position %= len(content)
    path.write_bytes(content[:position] if cut else content[:position] + piece + content[position + len(piece) :])
    _file_is_read_or_refused(path)


def _file_is_read_or_refused(path: Path) -> None:
    refused = ""
    try:
        PTQConfig.from_json(path)
    except (ConfigError, CorruptArtifactError) as error:
        refused = str(error)
    assert not refused or path.name in refused
