"""Distillation: the float model as teacher of the one in training, with or without labels (Hinton et al. 2015, arXiv:1503.02531)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import paddle
import paddle.nn.functional as F  # noqa: N812 - Paddle's own name for it
from paddle import nn

from quantizers.errors import ConfigError

from ..util.modes import eval_mode

__all__ = ["Distillation", "feature_loss", "soft_target_loss"]

OUTPUTS = ("logits", "values", None)


def soft_target_loss(student: paddle.Tensor, teacher: paddle.Tensor, temperature: float = 1.0, axis: int = -1) -> paddle.Tensor:
    """Kullback-Leibler divergence of softened answers, times ``temperature ** 2`` so that its gradients keep their size.

    Args:
        student, teacher: logits of one shape; the classes are on ``axis``.
        temperature: what logits are divided by.

    Returns:
        Shape [], the mean over all but the class axis.
    """
    expected = F.softmax(teacher / temperature, axis)
    difference = F.log_softmax(teacher / temperature, axis) - F.log_softmax(student / temperature, axis)
    loss: paddle.Tensor = (expected * difference).sum(axis).mean() * temperature**2
    return loss


def feature_loss(student: paddle.Tensor, teacher: paddle.Tensor) -> paddle.Tensor:
    """Squared difference of two tensors over the mean square of the teacher's; shape []."""
    power = (teacher * teacher).mean()
    loss: paddle.Tensor = F.mse_loss(student, teacher) / paddle.clip(power, min=1e-12)
    return loss


class Distillation:
    """The loss of a model in training against its float model.

    Args:
        student: the model in training, from `ptq.qat.prepare`.
        teacher: the float model, which is only run, in eval mode.
        outputs: what the answers are: ``"logits"``, compared by `soft_target_loss`; ``"values"``, by `feature_loss`; ``None``: neither.
        temperature: of logits.
        axis: of the classes in logits.
        weight: of the loss of answers.
        features: names of layers whose results are compared too; they must have the same shapes in both.
        feature_weight: of their mean loss.
        label_weight: of the loss of labels, where labels are given.

    Raises:
        ConfigError: a setting is out of range, or a layer is missing in one of the models.
    """

    def __init__(
        self,
        student: nn.Layer,
        teacher: nn.Layer,
        *,
        outputs: str | None = "logits",
        temperature: float = 1.0,
        axis: int = -1,
        weight: float = 1.0,
        features: Sequence[str] = (),
        feature_weight: float = 1.0,
        label_weight: float = 1.0,
    ) -> None:
        if outputs not in OUTPUTS:
            raise ConfigError(f"outputs must be one of {', '.join(map(repr, OUTPUTS))}, got {outputs!r}")
        if not temperature > 0:
            raise ConfigError(f"temperature must be positive, got {temperature!r}")
        if outputs is None and not features:
            raise ConfigError("there is nothing to distill: let outputs be 'logits' or 'values', or name features")
        for role, model in (("student", student), ("teacher", teacher)):
            known = dict(model.named_sublayers())
            for name in features:
                if name not in known:
                    raise ConfigError(f"features: the {role} has no layer {name!r}; named_sublayers() lists the names")
        self.student, self.teacher = student, teacher
        self.outputs, self.temperature, self.axis, self.weight = outputs, float(temperature), axis, weight
        self.features, self.feature_weight, self.label_weight = tuple(features), feature_weight, label_weight

    def __call__(
        self, *inputs: Any, labels: Any = None, label_loss: Callable[[Any, Any], paddle.Tensor] = F.cross_entropy
    ) -> tuple[Any, paddle.Tensor]:
        """Runs both models on a batch.

        Args:
            *inputs: arguments of ``forward``.
            labels: what ``label_loss`` compares the student's answer with; ``None`` for none.
            label_loss: of the answer and the labels.

        Returns:
            The student's answer and the loss, shape [].
        """
        with paddle.no_grad(), eval_mode(self.teacher), _results(self.teacher, self.features) as expected:
            target = self.teacher(*inputs)
        with _results(self.student, self.features) as found:
            answer = self.student(*inputs)
        loss = paddle.zeros([])
        if self.outputs is not None:
            pairs = list(zip(_tensors(answer), _tensors(target), strict=True))
            loss = loss + self.weight * sum(self._answer_loss(*pair) for pair in pairs) / len(pairs)
        if self.features:
            each = [feature_loss(found[name], expected[name]) for name in self.features]
            loss = loss + self.feature_weight * sum(each) / len(each)
        if labels is not None and self.label_weight:
            loss = loss + self.label_weight * label_loss(answer, labels)
        return answer, loss

    def _answer_loss(self, answer: paddle.Tensor, target: paddle.Tensor) -> paddle.Tensor:
        if self.outputs == "values":
            return feature_loss(answer, target)
        return soft_target_loss(answer, target, self.temperature, self.axis)


def _tensors(answer: Any) -> list[paddle.Tensor]:
    return [item for item in paddle.utils.flatten(answer) if isinstance(item, paddle.Tensor)]


@contextlib.contextmanager
def _results(model: nn.Layer, names: Sequence[str]) -> Iterator[dict[str, paddle.Tensor]]:
    """What the named layers compute while entered."""
    found: dict[str, paddle.Tensor] = {}
    layers = dict(model.named_sublayers())

    def keep(name: str) -> Callable[..., None]:
        def hook(_layer: nn.Layer, _inputs: Any, output: Any) -> None:
            found[name] = output

        return hook

    handles = [layers[name].register_forward_post_hook(keep(name)) for name in names]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
