"""Folding a batch norm into the layer before it: the same function, over every kind of layer."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from models import data, randomize_norms, relative
from paddle import nn

from ptq.passes.fold_batch_norm import ACTIVATIONS, activation_of, fold_batch_norm, is_batch_norm, why_not_foldable
from quantizers.errors import FuseError

LAYERS = {1: nn.Conv1D, 2: nn.Conv2D, 3: nn.Conv3D}
TRANSPOSED = {1: nn.Conv1DTranspose, 2: nn.Conv2DTranspose, 3: nn.Conv3DTranspose}
NORMS = {1: nn.BatchNorm1D, 2: nn.BatchNorm2D, 3: nn.BatchNorm3D}
FIRST, LAST = {1: "NCL", 2: "NCHW", 3: "NCDHW"}, {1: "NLC", 2: "NHWC", 3: "NDHWC"}


class ActLess(nn.BatchNorm2D):
    """A batch norm that computes something else."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return super().forward(x) + 1


def _cases() -> list[Any]:
    cases = []
    for dims in (1, 2, 3):
        size = (5, 6, 4)[:dims]
        for kind, layers in (("Conv", LAYERS), ("Transposed", TRANSPOSED)):
            for groups in (1, 2):
                for bias in (None, False):
                    for formats in (FIRST, LAST):
                        arguments = {"groups": groups, "bias_attr": bias, "data_format": formats[dims]}
                        shape = (2, 4, *size) if formats is FIRST else (2, *size, 4)
                        cases.append(
                            pytest.param(
                                lambda layer=layers[dims], arguments=arguments: layer(4, 6, 3, **arguments),
                                lambda norm=NORMS[dims], formats=formats, dims=dims: norm(6, data_format=formats[dims]),
                                shape,
                                id=f"{kind}{dims}D-{formats[dims]}-groups {groups}-bias {bias is None}",
                            )
                        )
    # 6 -> 9 channels in 3 groups: inputs and outputs of a group differ, so a wrong order of groups shows
    cases.append(
        pytest.param(
            lambda: nn.Conv2DTranspose(6, 9, 3, groups=3), lambda: nn.BatchNorm2D(9), (2, 6, 5, 5), id="Transposed-6 to 9-3 groups"
        )
    )
    cases.append(pytest.param(lambda: nn.Linear(4, 6), lambda: nn.BatchNorm1D(6), (5, 4), id="Linear"))
    cases.append(pytest.param(lambda: nn.Linear(6, 6), lambda: nn.BatchNorm1D(6), (5, 6), id="Linear-square"))
    cases.append(pytest.param(lambda: nn.Linear(4, 6, bias_attr=False), lambda: nn.BatchNorm1D(6), (5, 4), id="Linear-no bias"))
    cases.append(pytest.param(lambda: nn.Linear(4, 6), lambda: nn.BatchNorm1D(6, data_format="NLC"), (5, 3, 4), id="Linear-3-D-NLC"))
    cases.append(pytest.param(lambda: nn.Conv2D(4, 6, 3), lambda: nn.BatchNorm(6), (2, 4, 5, 5), id="BatchNorm"))
    cases.append(
        pytest.param(
            lambda: nn.Conv2D(4, 6, 3, data_format="NHWC"), lambda: nn.BatchNorm(6, data_layout="NHWC"), (2, 5, 5, 4), id="BatchNorm-NHWC"
        )
    )
    cases.append(
        pytest.param(
            lambda: nn.Conv2D(4, 6, 3),
            lambda: nn.BatchNorm2D(6, weight_attr=False, bias_attr=False),
            (2, 4, 5, 5),
            id="norm without affine",
        )
    )
    cases.append(pytest.param(lambda: nn.Conv2D(4, 6, 3), lambda: nn.BatchNorm2D(6, epsilon=0.5), (2, 4, 5, 5), id="large epsilon"))
    cases.append(
        pytest.param(lambda: nn.Conv2D(4, 6, 3), lambda: nn.BatchNorm2D(6, use_global_stats=True), (2, 4, 5, 5), id="global statistics")
    )
    cases.append(
        pytest.param(lambda: nn.Conv2D(4, 6, 3, padding_mode="reflect", padding=1), lambda: nn.BatchNorm2D(6), (2, 4, 5, 5), id="reflect")
    )
    return cases


@pytest.mark.parametrize(("make_layer", "make_norm", "shape"), _cases())
def test_the_folded_layer_computes_what_both_did(
    make_layer: Callable[[], nn.Layer], make_norm: Callable[[], nn.Layer], shape: tuple[int, ...]
) -> None:
    layer, norm = make_layer(), make_norm()
    if layer.bias is not None:
        layer.bias.set_value(data(*layer.bias.shape))
    randomize_norms(nn.Sequential(layer, norm))
    x = data(*shape, seed=1)
    expected, plain = norm(layer(x)), layer(x)
    fold_batch_norm(layer, norm)
    assert relative(layer(x), expected) <= 2e-6
    assert relative(plain, expected) > 0.1  # folding has something to do
    assert layer.weight.dtype == paddle.float32
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]


def test_float64_stays_float64() -> None:
    layer, norm = nn.Linear(4, 6), nn.BatchNorm1D(6)
    model = randomize_norms(nn.Sequential(layer, norm))
    model.to(dtype="float64")
    x = data(5, 4).astype("float64")
    expected = model(x)
    fold_batch_norm(layer, norm)
    assert layer.weight.dtype == paddle.float64
    assert relative(layer(x), expected) <= 1e-12


def test_a_shared_weight_is_left_to_the_other_layer() -> None:
    layer, other, norm = nn.Linear(4, 4), nn.Linear(4, 4), nn.BatchNorm1D(4)
    randomize_norms(norm)
    other.weight = layer.weight
    before = other.weight.numpy()
    fold_batch_norm(layer, norm)
    np.testing.assert_array_equal(other.weight.numpy(), before)
    assert not np.array_equal(layer.weight.numpy(), before)


def test_frozen_weights_stay_frozen() -> None:
    layer, norm = nn.Linear(4, 4), randomize_norms(nn.BatchNorm1D(4))
    layer.weight.stop_gradient = True
    fold_batch_norm(layer, norm)
    assert layer.weight.stop_gradient
    assert layer.bias.stop_gradient


def test_a_tiny_variance_does_not_overflow() -> None:
    layer, norm = nn.Linear(4, 4), randomize_norms(nn.BatchNorm1D(4))
    norm._variance.set_value(paddle.zeros([4]))
    x = data(5, 4)
    expected = norm(layer(x))
    fold_batch_norm(layer, norm)
    assert relative(layer(x), expected) <= 1e-5


@pytest.mark.parametrize(
    ("layer", "norm", "reason"),
    [
        (nn.ReLU(), nn.BatchNorm2D(4), "ReLU is not a supported convolution or Linear"),
        (nn.Conv2D(1, 4, 1), nn.ReLU(), "ReLU is not a batch norm"),
        (nn.Conv2D(1, 4, 1), nn.LayerNorm(4), "LayerNorm is not a batch norm"),
        (nn.Conv2D(1, 4, 1), ActLess(4), "ActLess is not a batch norm"),
        (nn.Conv2D(1, 4, 1), nn.BatchNorm2D(4, use_global_stats=False), "statistics of each batch"),
        (nn.Conv2D(1, 4, 1), nn.BatchNorm(4, trainable_statistics=True), "statistics of each batch"),
        (nn.Conv2D(1, 4, 1), nn.BatchNorm2D(8), "4 output channels, the batch norm 8"),
        (nn.Conv2DTranspose(2, 4, 1, groups=2), nn.BatchNorm2D(2), "4 output channels, the batch norm 2"),
        (nn.Conv2D(1, 4, 1, data_format="NHWC"), nn.BatchNorm2D(4), "different data formats"),
        (nn.Conv2D(1, 4, 1), nn.BatchNorm2D(4, data_format="NHWC"), "different data formats"),
        (nn.Conv2D(1, 4, 1), nn.BatchNorm(4, act="square"), "'square'"),
        (nn.utils.weight_norm(nn.Conv2D(1, 4, 1)), nn.BatchNorm2D(4), "weight norm"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_cannot_be_folded(layer: nn.Layer, norm: nn.Layer, reason: str) -> None:
    assert reason in why_not_foldable(layer, norm)
    before = {key: value.numpy() for key, value in layer.state_dict().items()}
    with pytest.raises(FuseError, match=re.escape(reason)):
        fold_batch_norm(layer, norm)
    assert all((before[key] == value.numpy()).all() for key, value in layer.state_dict().items())


@pytest.mark.parametrize("norm", [nn.BatchNorm(2), nn.BatchNorm1D(2), nn.BatchNorm2D(2), nn.BatchNorm3D(2), nn.SyncBatchNorm(2)])
def test_batch_norms(norm: nn.Layer) -> None:
    assert is_batch_norm(norm)
    assert not is_batch_norm(nn.LayerNorm(2))
    assert not is_batch_norm(nn.InstanceNorm2D(2))


@pytest.mark.parametrize("act", sorted(ACTIVATIONS))
def test_own_activation_remains(act: str) -> None:
    norm = randomize_norms(nn.BatchNorm(3, act=act))
    plain = nn.BatchNorm(3)
    plain.set_state_dict(norm.state_dict())
    plain.eval()
    x = data(2, 3, 4, 4)
    assert relative(activation_of(norm)(plain(x)), norm(x)) <= 1e-6


def test_no_activation_remains_of_others() -> None:
    assert type(activation_of(nn.BatchNorm(3))) is nn.Identity
    assert type(activation_of(nn.BatchNorm2D(3))) is nn.Identity
