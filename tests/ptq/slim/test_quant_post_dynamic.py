"""`quant_post_dynamic` and `quant_embedding`: PaddleSlim's arguments, each used or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from models import relative
from paddle import nn
from paddle.static import InputSpec

import ptq
from ptq.registry import PTQRegistry
from ptq.slim import quant_embedding, quant_post_dynamic
from quantizers.errors import ConfigError
from quantizers.grids.log_grid import LogGrid


def images() -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(0).standard_normal((3, 1, 12, 12)).astype("float32"))


@pytest.mark.parametrize(("kind", "bits"), [("json", 8), ("pdmodel", 16)])
def test_a_program_is_a_quarter_and_answers_alike(saved: dict[str, Path], kind: str, bits: int, tmp_path: Path) -> None:
    out = tmp_path / "out"
    quant_post_dynamic(str(saved[kind]), str(out), save_model_filename="m.pdmodel", weight_bits=bits, generate_test_model=True)
    model, original = ptq.load(out / "m"), ptq.load_program(saved[kind])
    x = images()
    assert 0 < relative(model(x), original(x)) < (0.02 if bits == 8 else 1e-3)
    tested = paddle.jit.load(str(tmp_path / "test_model" / "m"))
    tested.eval()
    assert relative(tested(x), model(x)) < 1e-5


def test_operators_are_chosen(saved: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quant_post_dynamic(str(saved["json"]), str(tmp_path), quantizable_op_type=["mul"])
    printed = capsys.readouterr().out
    assert "Linear" in printed
    assert (tmp_path / "__model__.pdiparams").is_file()


@pytest.mark.parametrize(
    ("options", "name"),
    [({"weight_bits": 4}, "weight_bits"), ({"weight_bits": "8"}, "weight_bits"), ({"generate_test_model": 1}, "generate_test_model"),
     ({"quantizable_op_type": ["relu"]}, "quantizable_op_type"), ({"quantizable_op_type": "mul"}, "quantizable_op_type"),
     ({"quantizable_op_type": ["lookup_table"]}, "quantizable_op_type"), ({"save_model_filename": "a/b"}, "save_model_filename"),
     ({"save_params_filename": 3}, "save_params_filename"), ({"save_model_dir": 3}, "save_model_dir"), ({"model_dir": 3}, "model_dir")],
)  # fmt: skip
def test_values_that_are_not_offered(saved: dict[str, Path], options: dict[str, Any], name: str, tmp_path: Path) -> None:
    given = {"model_dir": str(saved["json"]), "save_model_dir": str(tmp_path / "o"), **options}
    with pytest.raises(ConfigError, match=f"quant_post_dynamic: .*{name}"):
        quant_post_dynamic(**given)


class Lookups(nn.Layer):
    """An embedding and a product."""

    def __init__(self) -> None:
        super().__init__()
        paddle.seed(0)
        self.tok, self.fc = nn.Embedding(30, 16), nn.Linear(16, 4)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.fc(self.tok(x))


@pytest.mark.parametrize(
    "config",
    [None, {}, {"quantize_op_types": ["lookup_table_v2"]}, {"quantize_op_types": "lookup_table", "quantize_bits": 8, "dtype": "int8"},
     {"lookup_table": {"quantize_type": "abs_max", "quantize_bits": 8, "dtype": "int8"}}],
)  # fmt: skip
def test_tables_have_one_scale(config: Any) -> None:
    model = Lookups()
    weight = model.tok.weight.numpy()
    twin = quant_embedding(model, paddle.CPUPlace(), config)
    scale = np.abs(weight).max() / 127
    np.testing.assert_allclose(twin.tok.weight.numpy(), np.rint(weight / scale) * scale, rtol=1e-5)
    assert not PTQRegistry.is_quantized_layer(twin.fc)
    np.testing.assert_array_equal(model.tok.weight.numpy(), weight)


def test_log_and_threshold() -> None:
    model = Lookups()
    weight = model.tok.weight.numpy()
    twin = quant_embedding(model, config={"quantize_op_types": ["lookup_table"], "lookup_table": {"quantize_type": "log"}})
    grid = LogGrid.of(float(np.abs(weight).max()))
    np.testing.assert_array_equal(twin.tok(paddle.arange(30)).numpy(), grid.dequantize(grid.quantize(weight)))
    limit = float(np.abs(weight).max()) / 2
    clipped = quant_embedding(model, config={"threshold": limit})
    assert float(clipped.tok.weight.abs().max()) == pytest.approx(limit)


def test_a_saved_program_and_static_mode(tmp_path: Path) -> None:
    paddle.jit.save(Lookups(), str(tmp_path / "m"), input_spec=[InputSpec([None, 5], "int64")])
    paddle.enable_static()
    try:
        twin = quant_embedding(str(tmp_path / "m"), scope=paddle.static.global_scope())
        assert not paddle.in_dynamic_mode()
    finally:
        paddle.disable_static()
    x = paddle.to_tensor([[0, 3, 5, 7, 29]])
    assert relative(twin(x), Lookups()(x)) < 0.02


@pytest.mark.parametrize(
    ("config", "message"),
    [({"quantize_type": "mse"}, "quantize_type"), ({"quantize_bits": 4}, "quantize_bits"), ({"dtype": "uint8"}, "dtype"),
     ({"threshold": 0}, "threshold"), ({"threshold": "1"}, "threshold"), ({"threshold": float("nan")}, "threshold"),
     ({"quantize_op_types": ["mul"]}, "quantize_op_types"), ({"quantize_op_types": []}, "quantize_op_types"), ({"bits": 8}, "bits"),
     ({"lookup_table": 8}, "lookup_table"), ({"lookup_table": {"bits": 8}}, "lookup_table"), ([], "config"),
     ({"quantize_op_types": ["pyramid_hash"]}, "pyramid_hash"),
     ({"quantize_op_types": ["fused_embedding_seq_pool"]}, "fused_embedding_seq_pool")],
)  # fmt: skip
def test_keys_and_values_that_are_not_offered(config: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"quant_embedding: .*{message}"):
        quant_embedding(Lookups(), config=config)


def test_other_refusals() -> None:
    for arguments, message in (
        ((nn.Linear(3, 3),), "no embedding"),
        ((3,), "program"),
        ((Lookups(), "cpu"), "place"),
        ((Lookups(), None, None, 3), "scope"),
    ):
        with pytest.raises(ConfigError, match=message):
            quant_embedding(*arguments)
    with pytest.raises(ConfigError, match="Program"):
        quant_embedding(paddle.static.Program())
