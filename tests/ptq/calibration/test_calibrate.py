"""`calibrate`: what it takes, what it leaves behind, and how it goes on after an interruption."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from calibration_cases import file_bytes, prepared, samples
from models import Net, absmax, small_net
from paddle import nn
from paddle.io import DataLoader, Dataset, IterableDataset, TensorDataset

from ptq import Calibration, ImperativePTQ, calibrate
from ptq.calibration import checkpoint, pace
from ptq.calibration.file import read_contents
from ptq.calibration.state import state_of
from quantizers import BaseQuantizer, KLQuantizer, MovingAverageAbsmaxQuantizer
from quantizers.errors import (
    ArtifactError,
    CalibrationError,
    ConfigError,
    CorruptArtifactError,
    ModelError,
    NoCalibrationDataError,
    NonFiniteError,
)


class Recorder(nn.Layer):
    """A model whose calls are kept; its ``forward`` is given."""

    def __init__(self, forward: Any) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)
        self.calls: list[Any] = []
        self.given = forward

    def note(self, *call: Any) -> Any:
        if paddle.in_dynamic_mode():
            self.calls.append(call)
        return self.fc(call[0])


class One(Recorder):
    def forward(self, x: Any, mask: Any = None) -> Any:
        return self.note(x, mask)


class Two(Recorder):
    def forward(self, x: Any, y: Any, *, flag: bool = False) -> Any:
        return self.note(x, y, flag)


class Any_(Recorder):  # noqa: N801
    def forward(self, *inputs: Any) -> Any:
        return self.note(*inputs)


def batch(value: float = 1.0) -> np.ndarray:
    return np.full((3, 2), float(value))


def calls(model: type[Recorder], loader: Any, **options: Any) -> list[Any]:
    """What the model is called with."""
    found = ImperativePTQ(absmax()).quantize(model(None), inplace=True)
    calibrate(found, loader, **options)
    return found.calls


def test_what_the_model_is_called_with() -> None:
    x, y, label = batch(1), batch(2), np.int64([0, 1, 0])
    assert [len(call) for call in calls(One, [x, paddle.to_tensor(x, dtype="float32")])] == [2, 2]
    assert all(call[1] is None for call in calls(One, [[x, label], (x,), [x, label, label]]))
    assert [call[1].numpy().tolist() for call in calls(Two, [[x, y, label]])] == [y.tolist()]
    assert [call[2] for call in calls(Two, [{"x": x, "y": y, "flag": True}])] == [True]
    assert [len(call) for call in calls(Any_, [[x, y, label], x])] == [3, 1]
    assert calls(One, [[x, label]], input_fn=tuple)[0][1].numpy().tolist() == label.tolist()
    assert calls(One, [[x, label]], input_fn=lambda item: {"mask": item[1], "x": item[0]})[0][1].dtype == paddle.int64
    assert calls(One, [[x, label]], input_fn=lambda item: item[0])[0][1] is None


def test_arrays_become_tensors() -> None:
    nested = {"a": [np.ones(3), np.float16([1])], "b": (np.int32([1]), "text", None)}
    (call,) = calls(Two, [[batch(), nested]])
    assert call[0].dtype == paddle.float32
    assert [item.dtype for item in call[1]["a"]] == [paddle.float32, paddle.float16]
    assert call[1]["b"][0].dtype == paddle.int32
    assert call[1]["b"][1:] == ("text", None)


@pytest.mark.parametrize("wrong", [3, "text", None, object()])
def test_other_batches_are_named(wrong: Any) -> None:
    with pytest.raises(CalibrationError, match=rf"batch 1 is of type {type(wrong).__name__}; .*input_fn"):
        calls(One, [batch(), wrong])


def test_arrays_of_objects_are_named() -> None:
    with pytest.raises(CalibrationError, match="batch 0 holds an array of dtype object"):
        calls(One, [np.array([None])])


class Numbers(Dataset):
    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return samples()[index], index


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        return ((sample, 0) for sample in samples())


def test_every_kind_of_loader_gives_the_same() -> None:
    expected = file_bytes(calibrate(prepared(), [samples()]))
    loaders = [
        DataLoader(Numbers(), batch_size=5),
        DataLoader(Stream(), batch_size=5),
        DataLoader(TensorDataset([paddle.to_tensor(samples())]), batch_size=4, shuffle=True),
        (part for part in np.split(samples(), 3)),
        np.split(samples().astype("float64"), 4),
        samples()[:, None],
    ]
    for loader in loaders:
        assert file_bytes(calibrate(prepared(), loader, progress=False)) == expected
    assert calibrate(prepared(), [{"x": samples()}]).layers == calibrate(prepared(), [samples()]).layers


def test_max_batches_takes_no_more_from_the_loader() -> None:
    taken = []

    def stream() -> Iterator[np.ndarray]:
        for index in range(10):
            taken.append(index)
            yield samples()[index : index + 1]

    found = calibrate(prepared(), stream(), max_batches=3)
    assert taken == [0, 1, 2]
    assert file_bytes(found) == file_bytes(calibrate(prepared(), [samples()[:3]]))


def test_modes_and_gradients_are_left_as_they_were() -> None:
    model = ImperativePTQ(absmax()).quantize(small_net())
    model.train()
    model.bn1.eval()
    modes, seen = [layer.training for layer in model.sublayers(include_self=True)], []

    def look(layer: nn.Layer, _inputs: Any, output: Any) -> None:
        if paddle.in_dynamic_mode():
            seen.append((layer.training, output.stop_gradient))

    model.fc.register_forward_post_hook(look)
    mean = model.bn2._mean.numpy()
    calibrate(model, [samples()])
    assert seen == [(False, True)]
    assert [layer.training for layer in model.sublayers(include_self=True)] == modes
    np.testing.assert_array_equal(model.bn2._mean.numpy(), mean)
    with pytest.raises(CalibrationError, match=r"batch 1 \(float32 \[2, 5, 8, 8\]\): layer 'conv1' raises ValueError: .*input"):
        calibrate(model, [samples(), np.ones((2, 5, 8, 8))])
    assert [layer.training for layer in model.sublayers(include_self=True)] == modes
    assert paddle.is_grad_enabled()


def test_errors_of_the_loader_pass_through_and_those_of_the_model_are_placed() -> None:
    class OwnError(Exception):
        pass

    def fail(*_: Any) -> Any:
        raise OwnError

    with pytest.raises(OwnError):
        calibrate(prepared(), [samples()], input_fn=fail)
    failing = Net(lambda m, x: m.fc(x) if not paddle.in_dynamic_mode() else fail(), fc=nn.Linear(2, 2))
    with pytest.raises(CalibrationError, match=r"batch 0 \(float32 \[3, 2\]\): layer 'inner' raises OwnError: OwnError; ") as raised:
        calibrate(ImperativePTQ(absmax()).quantize(Net(lambda m, x: m.inner(m.fc(x)), fc=nn.Linear(2, 2), inner=failing)), [batch()])
    assert isinstance(raised.value.__cause__, OwnError)
    with pytest.raises(OwnError):
        calibrate(prepared(), (fail() for _ in range(3)))


@pytest.mark.parametrize("loader", [[], iter(()), DataLoader(Numbers(), batch_size=20, drop_last=True)])
def test_no_batches_is_an_error(loader: Any) -> None:
    with pytest.raises(NoCalibrationDataError, match="the loader yields no batch"):
        calibrate(prepared(), loader)


def test_arguments_are_checked(tmp_path: Path) -> None:
    for wrong in (0, -1, True, 1.5, "3"):
        with pytest.raises(ConfigError, match="max_batches must be"):
            calibrate(prepared(), [samples()], max_batches=wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="input_fn must be a function"):
        calibrate(prepared(), [samples()], input_fn="x")  # type: ignore[arg-type]
    for loader in (3, None, "text", paddle.to_tensor(samples())):
        with pytest.raises(ConfigError, match="loader must be an iterable"):
            calibrate(prepared(), loader)  # type: ignore[arg-type]
    for wrong in (3, "", b"a"):
        with pytest.raises(ConfigError, match="path of a file"):
            calibrate(prepared(), [samples()], resume=wrong)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"prepared with ImperativePTQ.quantize"):
        calibrate(small_net(), [samples()])
    assert not list(tmp_path.iterdir())


def test_progress_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    calibrate(prepared(), [samples()] * 3, max_batches=2)
    assert "2/2" in capsys.readouterr().err
    calibrate(prepared(), iter([samples()] * 3), progress=False)
    assert capsys.readouterr().err == ""


# ---- resume


def parts() -> list[list[np.ndarray]]:
    """Four batches with labels behind."""
    return [[part, np.arange(3)] for part in np.split(samples(), 4)]


def interrupted(loader: list[Any], count: int) -> Iterator[Any]:
    """The first batches, then a failure."""
    yield from loader[:count]
    raise KeyboardInterrupt


def interrupt(path: Path, count: int, quantizer: BaseQuantizer | None = None, **options: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        calibrate(prepared(quantizer, **options), interrupted(parts(), count), resume=path)


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("quantizer", [KLQuantizer(), MovingAverageAbsmaxQuantizer()], ids=["kl", "moving"])
def test_resuming_gives_the_same_file(tmp_path: Path, quantizer: BaseQuantizer, fuse: bool) -> None:
    path = tmp_path / "a.ptqc"
    expected = calibrate(prepared(quantizer, fuse=fuse), parts(), resume=path)
    wanted = path.read_bytes()
    assert wanted == file_bytes(expected) == file_bytes(calibrate(prepared(quantizer, fuse=fuse), parts()))
    for count in (1, 2, 4):
        path.unlink()
        interrupt(path, count, quantizer, fuse=fuse)
        with pytest.raises(CalibrationError, match=f"interrupted after {count} batches"):
            Calibration.load(path)
        model = prepared(quantizer, fuse=fuse)
        assert calibrate(model, parts(), resume=path) == expected
        assert path.read_bytes() == wanted
        assert [file.name for file in tmp_path.iterdir()] == ["a.ptqc"]
        assert Calibration.of(model) == expected


def test_done_batches_are_not_run_again_but_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.ptqc"
    interrupt(path, 3, fuse=True)
    model, runs = prepared(fuse=True), []
    model.conv1.register_forward_post_hook(lambda *_: runs.append(paddle.in_dynamic_mode()))
    calibrate(model, parts(), resume=path)
    assert runs.count(True) == 1
    seen = state_of(model).seen
    np.testing.assert_array_equal(seen.samples[0].arrays[0][0], parts()[0][0])
    assert seen.batches == 4
    assert len(seen.samples) == 4


def test_an_interruption_can_be_repeated(tmp_path: Path) -> None:
    path = tmp_path / "a.ptqc"
    for count in (1, 1, 2, 3):
        interrupt(path, count)
    calibrate(prepared(), parts(), resume=path)
    assert path.read_bytes() == file_bytes(calibrate(prepared(), [samples()]))


def test_a_finished_file_is_applied_without_a_look_at_the_data(tmp_path: Path) -> None:
    path = tmp_path / "a.ptqc"
    expected = calibrate(prepared(fuse=True), parts(), resume=path)

    def forbidden() -> Iterator[Any]:
        raise KeyboardInterrupt
        yield

    model = prepared(fuse=True)
    assert calibrate(model, forbidden(), resume=path) == expected
    assert Calibration.of(model) == expected
    assert path.read_bytes() == file_bytes(expected)


def test_other_data_or_another_order_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ptqc"
    interrupt(path, 2)
    before = path.read_bytes()
    first, second, third, last = parts()
    other = [first[0] + np.float32(0.5), first[1]]
    cases = {0: [other, second, third, last], 1: [first, third, second, last]}
    for index, loader in cases.items():
        with pytest.raises(
            CalibrationError, match=f"batch {index} is not the one that .*a.ptqc was made with: other data, or another order"
        ):
            calibrate(prepared(), loader, resume=path)
    with pytest.raises(CalibrationError, match="has 2 batches, but the loader yields only 1"):
        calibrate(prepared(), [first], resume=path)
    with pytest.raises(CalibrationError, match="more than max_batches=1"):
        calibrate(prepared(), parts(), max_batches=1, resume=path)
    assert path.read_bytes() == before


def test_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ptqc"
    interrupt(path, 2)
    other = prepared()
    other.fc.bias.set_value(other.fc.bias + 1)
    with pytest.raises(CalibrationError, match="made with other weights"):
        calibrate(other, parts(), resume=path)
    with pytest.raises(CalibrationError, match="other settings than those of KLQuantizer"):
        calibrate(prepared(KLQuantizer(bins=64)), parts(), resume=path)
    with pytest.raises(CalibrationError, match="other settings than those of MovingAverage"):
        calibrate(prepared(MovingAverageAbsmaxQuantizer()), parts(), resume=path)
    used = prepared()
    used(paddle.to_tensor(samples()))
    with pytest.raises(CalibrationError, match="has seen no data yet"):
        calibrate(used, parts(), resume=path)


def test_a_bad_batch_can_be_mended(tmp_path: Path) -> None:
    path = tmp_path / "a.ptqc"
    bad = parts()
    bad[2][0] = bad[2][0] * np.float32(np.nan)
    with pytest.raises(NonFiniteError, match="batch 2"):
        calibrate(prepared(), bad, resume=path)
    calibrate(prepared(), parts(), resume=path)
    assert path.read_bytes() == file_bytes(calibrate(prepared(), [samples()]))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ptqc"
    interrupt(path, 2)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptArtifactError, match=r"a\.ptqc"):
        calibrate(prepared(), parts(), resume=path)
    with pytest.raises(ArtifactError, match="cannot be read"):
        calibrate(prepared(), parts(), resume=tmp_path)


def test_own_quantizers_cannot_resume(tmp_path: Path) -> None:
    class Own(BaseQuantizer):
        def sample_data(self, layer: Any, tensors: Any) -> None:
            pass

    with pytest.raises(ConfigError, match=r"resume cannot store .*layer 'conv1' input \(Own\)"):
        calibrate(prepared(Own()), parts(), resume=tmp_path / "a.ptqc")


def test_zero_batches_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(NoCalibrationDataError):
        calibrate(prepared(), [], resume=tmp_path / "a.ptqc")
    assert not list(tmp_path.iterdir())


# ---- empty batches


@pytest.mark.parametrize("number", [0, 2])
def test_an_empty_batch_is_called_empty(number: int) -> None:
    batches = [samples()[:4] for _ in range(3)]
    batches[number] = batches[number][:0]
    with pytest.raises(CalibrationError, match=rf"^batch {number}\b.*is empty"):
        calibrate(prepared(fuse=True), batches, progress=False)


def test_an_empty_batch_is_called_empty_before_the_model_can_fail_on_it() -> None:
    model = Net(lambda m, x: m.fc(x[0]), fc=nn.Linear(8, 4))  # an IndexError
    with pytest.raises(CalibrationError, match=r"^batch 1\b.*is empty"):
        calibrate(ImperativePTQ(absmax()).quantize(model), [samples()[:4], samples()[:0]], progress=False)


def test_an_empty_batch_is_called_empty_when_the_model_is_called_by_hand() -> None:
    model = prepared(fuse=True)
    model(paddle.to_tensor(samples()[:4]))
    with pytest.raises(CalibrationError, match=r"^batch 1\b.*is empty"):
        model(paddle.to_tensor(samples()[:0]))


def test_an_input_beside_the_first_may_be_empty() -> None:
    x, cache = np.ones((2, 2), "float32"), np.ones((2, 0), "float32")
    assert len(calls(Two, [(x, cache)])) == 1
    with pytest.raises(CalibrationError, match=r"^batch 0 \(float32 \[2, 0\], float32 \[2, 0\]\) is empty"):
        calls(Two, [(cache, cache)])


def test_an_empty_batch_has_its_number_in_the_loader(tmp_path: Path) -> None:
    model = prepared(fuse=True)
    model(paddle.to_tensor(samples()))
    with pytest.raises(CalibrationError, match=r"^batch 0 .*is empty"):
        calibrate(model, [samples()[:0]], progress=False)
    interrupt(tmp_path / "a.ptqc", 3)
    with pytest.raises(CalibrationError, match=r"^batch 1 .*is empty"):  # not: "not the one that the file was made with"
        calibrate(prepared(), [parts()[0], samples()[:0]], progress=False, resume=tmp_path / "a.ptqc")


def test_an_empty_batch_is_not_noted() -> None:
    model = prepared(fuse=True)
    with pytest.raises(CalibrationError, match=r"batch 0 .*is empty"):
        model(paddle.to_tensor(samples()[:0]))
    calibrate(model, [samples()], progress=False)
    assert state_of(model).seen.batches == 1
    assert Calibration.of(model) == calibrate(prepared(fuse=True), [samples()], progress=False)


# ---- how often resume writes


class Clock:
    """Stands still but for what tests add; a write takes `write` seconds of it.  `writes` has its readings when one started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, write: float) -> None:
        self.now, self.write, self.writes = 0.0, write, []
        monkeypatch.setattr(pace, "clock", lambda: self.now)
        original = checkpoint.write_contents

        def slow(*arguments: Any) -> None:
            self.writes.append(self.now)
            original(*arguments)
            self.now += self.write

        monkeypatch.setattr(checkpoint, "write_contents", slow)

    def batches(self, count: int, seconds: float) -> Iterator[np.ndarray]:
        """Batches that take so long each."""
        for index in range(count):
            self.now += seconds
            yield samples(2, seed=index)


@pytest.mark.parametrize(("batch", "write"), [(1.0, 0.5), (0.25, 2.0), (1.0, 0.0625), (8.0, 0.125)])
def test_writing_costs_a_twentieth_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: float, write: float) -> None:
    clock, count = Clock(monkeypatch, write), 60
    calibrate(prepared(), clock.batches(count, batch), progress=False, resume=tmp_path / "a.ptqc")
    assert clock.writes[0] == batch  # the first: it shows that the path can be written to, and what that costs
    assert write * (len(clock.writes) - 1) <= 0.05 * clock.now
    gaps = np.diff([*clock.writes, clock.now])
    assert max(gaps) <= 20 * write + batch + write  # no later than is due
    if batch >= 20 * write:
        assert len(clock.writes) == count


def test_resume_does_not_write_the_whole_file_after_every_batch(tmp_path: Path) -> None:
    path, seen, count = tmp_path / "state.ptqc", set(), 60

    def batches() -> Iterator[np.ndarray]:
        for index in range(count):
            if path.exists():
                seen.add((path.stat().st_ino, path.stat().st_mtime_ns))
            yield samples(2, seed=index)

    calibrate(prepared(fuse=True), batches(), progress=False, resume=path)
    assert len(seen) <= count // 2


def stored(path: Path) -> int:
    """Batches in the file of an interrupted calibration."""
    progress = read_contents(path).progress
    assert progress is not None
    return len(progress.batches)


def test_an_interruption_between_batches_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, path = Clock(monkeypatch, write=100.0), tmp_path / "a.ptqc"
    for batch_count, given in ((3, KeyboardInterrupt()), (5, RuntimeError("no more memory")), (6, object())):

        def loader(count: int = batch_count, end: Any = given) -> Iterator[Any]:
            yield from clock.batches(count, 1.0)
            if isinstance(end, BaseException):
                raise end
            yield end  # no batch

        with pytest.raises(CalibrationError if type(given) is object else type(given)):
            calibrate(prepared(), loader(), progress=False, resume=path)
        assert stored(path) == batch_count
    expected = file_bytes(calibrate(prepared(), clock.batches(8, 1.0), progress=False))
    calibrate(prepared(), clock.batches(8, 1.0), progress=False, resume=path)
    assert path.read_bytes() == expected


def test_an_interruption_within_a_batch_leaves_the_last_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, path = Clock(monkeypatch, write=0.25), tmp_path / "a.ptqc"
    model = prepared()

    def interrupt_late(*_: Any) -> None:
        if state_of(model).seen.batches == 9:  # the layers in front have sampled the batch by now
            raise KeyboardInterrupt

    model.fc.register_forward_pre_hook(interrupt_late)
    with pytest.raises(KeyboardInterrupt):
        calibrate(model, clock.batches(20, 1.0), progress=False, resume=path)
    assert stored(path) == 6  # written after the 1st and, 5 s later, the 6th; batches 7 and 8 are run again
    expected = file_bytes(calibrate(prepared(), clock.batches(20, 1.0), progress=False))
    calibrate(prepared(), clock.batches(20, 1.0), progress=False, resume=path)
    assert path.read_bytes() == expected


def test_an_error_is_not_hidden_by_a_file_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, write=100.0)

    def loader() -> Iterator[Any]:
        yield from clock.batches(2, 1.0)
        monkeypatch.setattr(checkpoint, "write_contents", refuse)
        raise OSError("the data set is gone")

    def refuse(*_: Any) -> None:
        raise ArtifactError("the disk is full")

    with pytest.raises(OSError, match="the data set is gone"):
        calibrate(prepared(), loader(), progress=False, resume=tmp_path / "a.ptqc")
    assert stored(tmp_path / "a.ptqc") == 1
