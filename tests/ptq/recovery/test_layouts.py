"""A layer as a product of matrices computes what Paddle does."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn

from ptq.recovery.layouts import layout_of

LAYERS = {
    "padded": (lambda: nn.Conv2D(4, 6, 3, padding=1), [2, 4, 7, 6]),
    "strided and grouped": (lambda: nn.Conv2D(4, 6, (3, 2), stride=2, padding=[1, 0], groups=2), [2, 4, 7, 6]),
    "padded on one side": (lambda: nn.Conv2D(4, 6, 3, stride=2, padding=[0, 1, 0, 1]), [2, 4, 8, 6]),
    "padded by pairs": (lambda: nn.Conv2D(4, 6, 3, padding=[[0, 0], [0, 0], [2, 1], [0, 1]]), [2, 4, 5, 6]),
    "same": (lambda: nn.Conv2D(4, 6, 3, stride=2, padding="same"), [2, 4, 7, 6]),
    "valid and dilated": (lambda: nn.Conv2D(4, 6, 3, dilation=2, padding="valid"), [2, 4, 7, 8]),
    "depthwise": (lambda: nn.Conv2D(4, 8, 3, padding=1, groups=4), [2, 4, 5, 5]),
    "reflected": (lambda: nn.Conv2D(4, 6, 3, padding=1, padding_mode="reflect"), [2, 4, 5, 6]),
    "channels last": (lambda: nn.Conv2D(4, 6, 3, padding=1, data_format="NHWC"), [2, 5, 6, 4]),
    "one dimension": (lambda: nn.Conv1D(4, 6, 3, padding=2, stride=2), [2, 4, 9]),
    "three dimensions": (lambda: nn.Conv3D(2, 3, 2, padding=1), [2, 2, 3, 4, 3]),
    "transposed": (lambda: nn.Conv2DTranspose(4, 6, 3, stride=2, padding=1, output_padding=1), [2, 4, 4, 5]),
    "transposed and grouped": (lambda: nn.Conv2DTranspose(4, 6, 2, stride=3, groups=2, dilation=2), [2, 4, 4, 3]),
    "transposed, cropped": (lambda: nn.Conv1DTranspose(3, 2, 3, stride=1, padding=2), [2, 3, 7]),
    "linear": (lambda: nn.Linear(5, 3), [2, 4, 5]),
}


@pytest.mark.parametrize("name", LAYERS)
def test_columns_times_matrix_is_the_layer(name: str) -> None:
    make, shape = LAYERS[name]
    paddle.seed(1)
    layer = make()
    x = paddle.randn(shape)
    y = layer(x).numpy()
    layout = layout_of(layer)
    assert layout is not None
    matrix = layout.matrix(layer.weight.numpy())
    chosen = np.sort(np.random.default_rng(0).permutation(layout.places(y))[: max(3, layout.places(y) // 2)])
    columns = layout.columns(x.numpy(), y.shape, chosen)
    found = np.einsum("gpk,gok->pgo", columns, matrix).reshape(len(chosen), -1) + layer.bias.numpy()
    np.testing.assert_allclose(found, layout.results(y, chosen), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(layout.weight(matrix), layer.weight.numpy())


def test_what_is_no_product_of_known_matrices() -> None:
    class Own(nn.Linear):
        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            return x

    assert layout_of(Own(2, 2)) is None
    assert layout_of(nn.Embedding(3, 2)) is None
    assert layout_of(nn.Conv2D(2, 2, 3, padding="same", dilation=2)) is None
