"""Distillation against hand-made sums in float64."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from scipy.special import log_softmax, softmax
from training_cases import Small, batch, sgd

from ptq.qat import Distillation, QATConfig, prepare
from ptq.training.distill import feature_loss, soft_target_loss
from quantizers.errors import ConfigError


def test_soft_targets() -> None:
    random = np.random.default_rng(0)
    student, teacher = random.standard_normal((4, 3, 2)), random.standard_normal((4, 3, 2))
    found = soft_target_loss(paddle.to_tensor(student), paddle.to_tensor(teacher), 3.0, axis=1)
    target = softmax(teacher / 3, axis=1)
    expected = (target * (log_softmax(teacher / 3, axis=1) - log_softmax(student / 3, axis=1))).sum(1).mean() * 9
    assert float(found) == pytest.approx(expected, rel=1e-6)
    assert float(soft_target_loss(paddle.to_tensor(teacher), paddle.to_tensor(teacher))) == pytest.approx(0, abs=1e-9)


def test_features() -> None:
    student, teacher = np.float32([[1, 2], [3, 4]]), np.float32([[1, 1], [2, 2]])
    assert float(feature_loss(paddle.to_tensor(student), paddle.to_tensor(teacher))) == pytest.approx((0 + 1 + 1 + 4) / (1 + 1 + 4 + 4))


@pytest.mark.parametrize("labels", [True, False])
def test_the_student_comes_near_and_the_teacher_stays(labels: bool) -> None:
    x, y = batch(items=16)
    teacher = Small()
    teacher.train()
    before = {name: tensor.numpy().copy() for name, tensor in teacher.state_dict().items()}
    student = prepare(teacher, QATConfig(activation_bits=4, weight_bits=4), data=[x])
    student.train()
    distill = Distillation(student, teacher, temperature=2.0, features=["t"], label_weight=0.1)
    optimizer = sgd(student, 0.01)
    losses = []
    for _ in range(8):
        answer, loss = distill(x, labels=y if labels else None)
        assert answer.shape == [16, 10]
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        losses.append(float(loss))
    assert losses[-1] < losses[0]
    assert teacher.training
    assert all(np.array_equal(tensor.numpy(), before[name]) for name, tensor in teacher.state_dict().items())
    assert not teacher.t._forward_post_hooks
    assert not student.t._forward_post_hooks


def test_values_and_what_is_refused() -> None:
    x, _ = batch()
    net = Small()
    net.eval()
    _, loss = Distillation(net, net, outputs="values")(x)
    assert float(loss) == 0
    with pytest.raises(ConfigError, match="nothing to distill"):
        Distillation(net, net, outputs=None)
    with pytest.raises(ConfigError, match="the student has no layer 'nowhere'"):
        Distillation(net, net, features=["nowhere"])
    with pytest.raises(ConfigError, match="outputs must be one of"):
        Distillation(net, net, outputs="softmax")
    with pytest.raises(ConfigError, match="temperature must be positive"):
        Distillation(net, net, temperature=0)
