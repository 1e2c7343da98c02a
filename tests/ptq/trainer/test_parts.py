"""The parts of a training by configuration: settings, data, losses, schedules, scores, order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
import yaml
from PIL import Image
from trainer_cases import config

from ptq.trainer.build import read_setup
from ptq.trainer.datasets import Drawn, ListDataset
from ptq.trainer.losses import CrossEntropyLoss, OhemCrossEntropyLoss, made_losses
from ptq.trainer.metrics import Confusion
from ptq.trainer.nets import made_model
from ptq.trainer.nets.lite_seg import LiteSeg
from ptq.trainer.optimizers import made_optimizer, made_schedule
from ptq.trainer.order import _Order, batches_from
from ptq.trainer.prepared import Quantization
from ptq.trainer.settings import read_settings
from ptq.trainer.transforms import Normalize, RandomDistort, RandomHorizontalFlip, RandomPaddingCrop, Resize, ResizeStepScaling
from quantizers.errors import ArtifactError, CalibrationError, ConfigError


def own_dataset(count: int = 3) -> Any:
    return [(np.zeros((3, 8, 8), np.float32), np.int64(index % 2)) for index in range(count)]


def test_a_configuration_is_laid_over_its_base(streets: Path, tmp_path: Path) -> None:
    file = config(streets, tmp_path / "c.yml", iters=7, optimizer={"_inherited_": False, "type": "adam"}, model={"width": 8})
    settings = read_settings(file)
    assert settings["iters"] == 7
    assert settings["optimizer"] == {"type": "adam"}
    assert settings["model"] == {"type": "LiteSeg", "width": 8, "depth": 1}
    assert settings["train_dataset"]["dataset_root"] == str(streets)
    assert settings["train_dataset"]["train_path"] == "train.txt"


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("a: [", ConfigError, "is not YAML"),
        ("- 1", ConfigError, "a configuration is a mapping"),
        ("models: 1", ConfigError, "unknown 'models'"),
        ("_base_: c.yml", ConfigError, "leads back to the file itself"),
        ("_base_: 3", ConfigError, "must be the path of a file"),
        ("_base_: none.yml", ArtifactError, "none.yml cannot be read"),
        ("iters: ten", ConfigError, "iters must be a whole number"),
    ],
)
def test_what_is_no_configuration(tmp_path: Path, content: str, error: type[Exception], message: str) -> None:
    (tmp_path / "c.yml").write_text(content, encoding="utf-8")
    with pytest.raises(error, match=message):
        read_setup(tmp_path / "c.yml")


def test_a_sample_is_a_picture_and_its_labels(streets: Path) -> None:
    dataset = ListDataset(
        str(streets), 3, mode="val", val_path="val.txt", transforms=[{"type": "Normalize", "mean": [0.0] * 3, "std": [1.0] * 3}]
    )
    assert len(dataset) == 4
    picture, labels = dataset[0]
    assert (picture.dtype, picture.shape, labels.dtype, labels.shape) == (np.float32, (3, 36, 48), np.int64, (36, 48))
    expected = np.asarray(Image.open(streets / "images" / "12.png"), dtype=np.float32) / 255
    np.testing.assert_allclose(picture, expected.transpose(2, 0, 1), rtol=1e-6)


def test_what_is_drawn_depends_on_seed_draw_and_index_alone(streets: Path) -> None:
    setup = read_setup(streets / "small.yml")
    first, again, other = (Drawn(setup.train_dataset, seed) for seed in (1, 1, 2))
    assert np.array_equal(first[(3, 5)][0], again[(3, 5)][0])
    assert not np.array_equal(first[(3, 5)][0], other[(3, 5)][0])
    assert not np.array_equal(first[(3, 5)][0], first[(3, 6)][0])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"num_classes": 2}, CalibrationError, r"0.png has the labels \[2\], but num_classes is 2"),
        ({"train_path": "none.txt"}, ArtifactError, "none.txt cannot be read"),
        ({"train_path": None}, ConfigError, "needs train_path"),
        ({"mode": "test"}, ConfigError, "mode must be train or val"),
        ({"separator": ","}, ConfigError, "line 1: a picture and its labels"),
        ({"transforms": [{"type": "Rotate"}]}, ConfigError, r"transforms\[0\]: there is no 'Rotate'"),
        ({"transforms": [{"type": "Resize", "size": 3}]}, ConfigError, "does not take what it is given"),
        ({"transforms": [{"type": "Resize", "target_size": 3}]}, ConfigError, r"target_size must be \[width, height\]"),
    ],
)
def test_data_that_is_wrong_is_named(streets: Path, change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {"dataset_root": str(streets), "num_classes": 3, "train_path": "train.txt", **change}
    with pytest.raises(error, match=message):
        ListDataset(**arguments).get(0, np.random.default_rng(0))


def test_missing_and_broken_pictures_are_named(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.png b.png\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"line 1: there is no file .*a\.png"):
        ListDataset(str(tmp_path), 3, train_path="list.txt")
    (tmp_path / "a.png").write_bytes(b"no picture")
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "b.png")
    with pytest.raises(ArtifactError, match=r"a\.png cannot be read as a picture"):
        ListDataset(str(tmp_path), 3, train_path="list.txt")[0]
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(CalibrationError, match="one label a pixel"):
        ListDataset(str(tmp_path), 3, train_path="list.txt")[0]


def test_transforms_move_picture_and_labels_alike() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 200, (12, 16)).astype(np.uint8)
    picture = np.repeat(labels[..., None], 3, axis=-1).astype(np.float32)
    for transform in (RandomPaddingCrop([8, 6]), RandomHorizontalFlip(1.0), RandomPaddingCrop([20, 14], im_padding_value=255)):
        moved, its = transform(picture, labels, random)
        assert np.array_equal(moved[..., 0], its)
    assert its.shape == (14, 20)
    assert (its[12:] == 255).all()
    half, small = Resize([8, 6])(picture, labels, random)
    assert half.shape == (6, 8, 3)
    assert set(small.flatten()) <= set(labels.flatten())
    shapes = {ResizeStepScaling(0.5, 1.5, 0.5)(picture, labels, random)[1].shape for _ in range(30)}
    assert shapes == {(6, 8), (12, 16), (18, 24)}
    normal, _ = Normalize([0.5, 0, 0], [2, 1, 1])(picture, labels, random)
    np.testing.assert_allclose(normal[..., 0], (picture[..., 0] / 255 - 0.5) / 2, rtol=1e-5)
    distorted, same = RandomDistort()(picture, labels, random)
    assert same is labels
    assert distorted.min() >= 0
    assert distorted.max() <= 255


def test_losses_against_plain_sums() -> None:
    random = np.random.default_rng(0)
    logits, labels = random.standard_normal((2, 3, 4, 5)), random.integers(0, 3, (2, 4, 5))
    labels[0, 0] = 255
    each = -np.log(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    chosen = np.take_along_axis(each, np.where(labels == 255, 0, labels)[:, None], axis=1)[:, 0][labels != 255]
    tensors = paddle.to_tensor(logits, dtype="float32"), paddle.to_tensor(labels)
    assert float(CrossEntropyLoss()(*tensors)) == pytest.approx(chosen.mean(), rel=1e-5)
    hard = chosen[chosen >= -np.log(0.3)]
    assert float(OhemCrossEntropyLoss(0.3, min_kept=2)(*tensors)) == pytest.approx(hard.mean(), rel=1e-5)
    assert float(OhemCrossEntropyLoss(1e-6, min_kept=5)(*tensors)) == pytest.approx(np.sort(chosen)[-5:].mean(), rel=1e-5)
    both = made_losses({"types": [{"type": "CrossEntropyLoss"}, {"type": "CrossEntropyLoss"}], "coef": [1, 0.5]})
    assert float(both([tensors[0], tensors[0]], tensors[1])) == pytest.approx(1.5 * chosen.mean(), rel=1e-5)
    with pytest.raises(ConfigError, match="2 types for a model with 1 outputs"):
        both(tensors[0], tensors[1])
    with pytest.raises(ConfigError, match="sizes must agree"):
        both([tensors[0][:, :, 1:]] * 2, tensors[1])
    for wrong in ({}, {"types": []}, {"types": [{"type": "CrossEntropyLoss"}], "coef": [1, 2]}):
        with pytest.raises(ConfigError, match="loss"):
            made_losses(wrong)


def test_scores_against_counting() -> None:
    random = np.random.default_rng(0)
    labels, found = random.integers(0, 3, (2, 6, 7)), random.integers(0, 3, (2, 6, 7))
    labels[0, 0, :3] = 255
    confusion = Confusion(4)
    for one, other in zip(found, labels, strict=True):
        confusion.add(one, other)
    scores = confusion.scores()
    counted = labels != 255
    iou = [
        ((found == kind) & (labels == kind) & counted).sum() / (((found == kind) | (labels == kind)) & counted).sum() for kind in range(3)
    ]
    assert scores.iou[:3] == pytest.approx(iou)
    assert np.isnan(scores.iou[3])
    assert scores.miou == pytest.approx(np.mean(iou))
    assert scores.accuracy == pytest.approx((found == labels)[counted].mean())
    assert scores.score == scores.miou
    assert scores.lines()[0] == f"mIoU: {scores.miou:.4f}  accuracy: {scores.accuracy:.4f}"
    whole = Confusion(2)
    whole.add(np.array([0, 1]), np.array([0, 0]))
    assert whole.scores().score == 0.5


def test_schedules_and_optimizers() -> None:
    schedule = made_schedule({"type": "PolynomialDecay", "learning_rate": 0.1, "power": 1, "warmup_iters": 2}, 12, None)
    rates = []
    for _ in range(12):
        rates.append(schedule.get_lr())
        schedule.step()
    assert rates[:3] == pytest.approx([0.0, 0.05, 0.1])
    assert rates[7] == pytest.approx(0.05)
    assert made_schedule({"type": "CosineAnnealingDecay", "learning_rate": 0.1}, 5, 0.2).base_lr == 0.2
    assert made_schedule(None, 5, 0.3) == 0.3
    parameters = [paddle.create_parameter([2], "float32")]
    assert isinstance(made_optimizer({"type": "sgd", "momentum": 0.8}, 0.1, parameters), paddle.optimizer.Momentum)
    assert isinstance(made_optimizer({"type": "AdamW"}, 0.1, parameters), paddle.optimizer.AdamW)
    for call, message in (
        (lambda: made_schedule(None, 5, None), "no schedule and no learning_rate"),
        (lambda: made_schedule({"type": "Steps"}, 5, None), "lr_scheduler: there is no 'Steps'"),
        (lambda: made_optimizer({"type": "lion"}, 0.1, parameters), "optimizer: there is no 'lion'"),
        (lambda: made_optimizer({"learning_rate": 1}, 0.1, parameters), "optimizer must be a section with a type"),
    ):
        with pytest.raises(ConfigError, match=message):
            call()


def test_the_order_shows_everything_once_a_draw_and_goes_on_anywhere() -> None:
    whole = [index for chunk in _Order(10, 4, 0, 0, 10) for index in chunk]
    for draw in range(4):
        assert sorted(index for index, its in whole if its == draw) == list(range(10))
    assert [index for chunk in _Order(10, 4, 0, 3, 10) for index in chunk] == whole[12:]
    dataset = [(np.float32([index]), np.int64(index)) for index in range(10)]
    batches = list(batches_from(dataset, 4, 0, 2, 4, 0))
    assert [int(value) for batch in batches for value in batch[1]] == [index for index, _ in whole[8:16]]


def test_nets_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    assert isinstance(made_model({"type": "liteseg", "num_classes": 3, "width": 4}), LiteSeg)
    assert made_model({"type": "resnet18", "num_classes": 3}).fc.weight.shape[1] == 3
    assert isinstance(made_model({"type": "ptq.trainer.nets.lite_seg:LiteSeg", "num_classes": 3, "width": 4}), LiteSeg)
    for kind, message in (
        ("nothing", "model: there is no 'nothing'"),
        ("nowhere_at_all:Net", "nowhere_at_all cannot be imported"),
        ("trainer_cases:Net", "trainer_cases has no Net"),
        ("trainer_cases:own_nothing", "has no own_nothing"),
        ("pathlib:Path", "must make a paddle.nn.Layer"),
    ):
        with pytest.raises(ConfigError, match=message):
            made_model({"type": kind})


@pytest.mark.parametrize("size", [(36, 48), (45, 60), (180, 240)])
def test_the_small_net_keeps_the_size_of_pictures(size: tuple[int, int]) -> None:
    net = LiteSeg(5, width=4, depth=1)
    net.eval()
    with paddle.no_grad():
        assert net(paddle.rand([1, 3, *size])).shape == [1, 5, *size]


def test_the_section_qat() -> None:
    made = Quantization(
        {
            "weight_bits": 4,
            "freeze_batch_norms": 0.5,
            "distill": {"temperature": 2},
            "overrides": {"head": None, "stem.0.conv": {"weight_bits": 8}},
        }
    )
    assert made.config.ptq.placement == "full"
    assert made.config.ptq.overrides["head"] is None
    assert made.config.ptq.overrides["stem.0.conv"].weight_bits == 8
    assert (made.freeze, made.distill) == (0.5, {"temperature": 2})
    for values, message in (
        ({"freeze_batch_norms": 2}, "freeze_batch_norms must be a share"),
        ({"distill": 3}, "distill must be a section"),
        ({"overrides": []}, "overrides must be"),
        ({"bits": 3}, "qat: .*unexpected keyword argument 'bits'"),
        ({"activations": "x"}, "activations must be one of"),
    ):
        with pytest.raises(ConfigError, match=message):
            Quantization(values)


def test_an_empty_or_odd_dataset_is_refused(streets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_data_for_tests.py").write_text("def empty():\n    return []\n\ndef number():\n    return 3\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, message in (("empty", "the dataset is empty"), ("number", "must make a dataset with a length")):
        changes = {"train_dataset": {"_inherited_": False, "type": f"own_data_for_tests:{name}"}}
        setup = read_setup(config(streets, tmp_path / "c.yml", **changes))
        with pytest.raises(ConfigError, match=message):
            _ = setup.train_dataset
    assert yaml.safe_load((tmp_path / "c.yml").read_text(encoding="utf-8"))
