"""The calibration file: the same bytes for the same content, and a named error for everything else."""

from __future__ import annotations

import io
import json
import os
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calibration_cases import calibration, file_bytes, rewritten, samples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptq import Calibration
from ptq.calibration.file import Contents, Progress, _digest, from_bytes, to_bytes
from quantizers import KLQuantizer, MovingAverageAbsmaxQuantizer
from quantizers.errors import ArtifactError, CalibrationError, ConfigError, CorruptArtifactError

Members = dict[str, bytes]


@pytest.fixture(scope="module")
def small() -> bytes:
    """A file of few bytes."""
    return file_bytes(calibration([samples()], KLQuantizer(bins=8)))


def members_of(data: bytes) -> Members:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: Members, sign: bool = True, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of the members, with a checksum that fits them: what somebody who knows the format can forge."""
    if sign:
        members = {name: content for name, content in members.items() if name != "checksum"}
        members["checksum"] = _digest(members).encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def forged(data: bytes, change: Callable[[Any], Any]) -> bytes:
    """The file with a changed header and a checksum that fits it."""
    members = members_of(data)
    header = json.loads(members["header.json"])
    changed = change(header)
    members["header.json"] = json.dumps(header if changed is None else changed).encode()
    return packed(members)


def put(*path: Any, value: Any) -> Callable[[Any], None]:
    """A change that sets one field of the header."""

    def change(header: Any) -> None:
        for key in path[:-1]:
            header = header[key]
        header[path[-1]] = value

    return change


def refused(data: bytes) -> CorruptArtifactError:
    with pytest.raises(CorruptArtifactError, match=r"^x\.ptqc ") as caught:
        from_bytes(data, "x.ptqc")
    return caught.value


def test_round_trip(tmp_path: Path) -> None:
    for quantizer in (KLQuantizer(), KLQuantizer(bins=7, max_samples_per_item=None), MovingAverageAbsmaxQuantizer()):
        found = calibration([samples()], quantizer)
        found.save(tmp_path / "new folder" / "a.ptqc")
        again = Calibration.load(tmp_path / "new folder" / "a.ptqc")
        assert again == found
        assert file_bytes(again) == (tmp_path / "new folder" / "a.ptqc").read_bytes() == file_bytes(found)
    assert [path.name for path in (tmp_path / "new folder").iterdir()] == ["a.ptqc"]


def test_numpy_reads_the_histograms(tmp_path: Path) -> None:
    found = calibration([samples()])
    with np.load(rewritten(tmp_path / "a.npz", file_bytes(found)), allow_pickle=False) as file:
        np.testing.assert_array_equal(file["000000"], found.layers["bn2"].output[0].histogram.counts)
        header = json.loads(file["header.json"])
    assert [layer["name"] for layer in header["layers"]] == sorted(found.layers)


def test_bytes_hold_nothing_of_time_or_place(small: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(small)) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.namelist() == sorted(archive.namelist())
    assert b"batches" not in small.replace(b'"batches": null', b"")


def test_every_cut_is_found(small: bytes) -> None:
    for length in [*range(0, len(small), 97), len(small) - 1]:
        refused(small[:length])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_found_or_harmless(small: bytes, data: st.DataObject) -> None:
    damaged = bytearray(small)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(damaged) - 1))
        damaged[position] = data.draw(st.integers(0, 255))
    try:
        contents = from_bytes(bytes(damaged), "x.ptqc")
    except ArtifactError as error:
        named = "x.ptqc" in str(error)
    else:  # dates and flags of the zip may change without touching what it holds
        named = to_bytes(contents) == small
    assert named


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(content: bytes) -> None:
    refused(content)


FIELDS = [
    "version",
    "bins",
    "max_samples_per_item",
    "low",
    "high",
    "abs_max",
    "elements",
    "items",
    "sum_abs_max",
    "sum_low",
    "sum_high",
    "zeros",
    "exponent",
    "moving",
]
LEGAL = {
    "max_samples_per_item": (2**62, None),
    "elements": (2**62,),
    "zeros": (0,),
    "sum_low": ("-0x1",),
    "sum_high": ("-0x1",),
    "moving": (None,),
}
WRONG: list[Any] = [-1, 0, 2**62, 2**64, 1e300, float("nan"), float("inf"), True, None, "", "x", "-0x1", "0x" + "f" * 500, [], {}, [[[]]]]


@pytest.mark.parametrize("field", FIELDS)
def test_impossible_numbers_are_refused(small: bytes, field: str) -> None:
    for value in WRONG:
        for side, layer in (("input", 2), ("output", 0)):
            honest = json.loads(members_of(small)["header.json"])["layers"][layer][side][0][field]
            if value in LEGAL.get(field, ()) or (value == honest and type(value) is type(honest)):
                continue
            refused(forged(small, put("layers", layer, side, 0, field, value=value)))


@pytest.mark.parametrize(
    "change",
    [
        put("layers", value=None),
        put("layers", value=[1]),
        put("layers", value=[]),
        put("layers", 0, value={}),
        put("layers", 0, "name", value="zzz"),
        put("layers", 0, "name", value=3),
        put("layers", 0, "name", value="\ud800"),
        put("layers", 1, "name", value="bn2"),
        put("layers", 0, "class", value=None),
        put("layers", 0, "output", value=[]),
        put("layers", 0, "output", value={}),
        put("layers", 0, "output", 0, value=7),
        put("layers", 0, "output", 0, "extra", value=7),
        put("layers", 0, "output", 0, "moving", value={"rate": 2, "accumulator": 1.0, "weight": 1.0}),
        put("layers", 0, "output", 0, "moving", value={"rate": 0.9}),
        put("input_spec", value={}),
        put("input_spec", value={"tuple": []}),
        put("input_spec", value={"value": 1}),
        put("input_spec", "tuple", 0, "tuple", 0, "tensor", "shape", value=[-5]),
        put("input_spec", "tuple", 0, "tuple", 0, "tensor", "shape", value=[None] * 1000),
        put("input_spec", "tuple", 0, "tuple", 0, "tensor", "dtype", value="complex256"),
        put("input_spec", "tuple", 0, "tuple", 0, "tensor", "dtype", value=[]),
        put("input_spec", "tuple", 1, value={"dict": [["b", {"value": 1}], ["a", {"value": 1}]]}),
        put("progress", value=1),
        put("progress", value={"model": "a", "batches": ["a"]}),
        put("progress", value={"model": "a", "batches": [1]}),
        put("version", value="1"),
        put("version", value=0),
        put("format", value="another"),
        put("unknown", value=1),
        lambda _header: [],
        lambda _header: 3,
    ],
)
def test_impossible_headers_are_refused(small: bytes, change: Callable[[Any], Any]) -> None:
    refused(forged(small, change))


def test_deep_and_long_headers_are_refused(small: bytes) -> None:
    members = members_of(small)
    for header in (b"[" * 100_000, b'{"format": ' + b"9" * 10_000 + b"}", b"\xff\xfe", b"", b'{"a": NaN}'):
        refused(packed({**members, "header.json": header}))


def npy(array: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def npy_header(text: str, body: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + body


@pytest.mark.parametrize(
    "content",
    [
        b"",
        npy(np.array([{"a": 1}], dtype=object), allow_pickle=True),
        npy(np.zeros((2, 16))),
        npy(np.zeros((2, 18), np.int64)),
        npy(np.zeros((2, 16), np.int64)),
        npy(np.full((2, 16), -1, np.int64)),
        npy(np.full((2, 16), 2**62, np.int64)),
        npy(np.full((2, 16), 255, np.uint8)),
        npy(np.asfortranarray(np.ones((2, 16), np.uint8))),
        npy(np.ones((2, 16), np.uint8))[:-1],
        npy(np.ones((2, 16), np.uint8)) + b"\0",
        npy(np.ones((2, 0), np.uint8)),
        npy(np.ones((2, 16), ">i8")),
        npy(np.ones(4, [("a", "u1")])),
        npy_header("{'descr': '<i8', 'fortran_order': False, 'shape': (2, 4611686018427387904), }\n"),
        npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (2, -2), }\n"),
        npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (-2, -8), }\n", bytes(16)),
        npy_header("{'descr': '|O', 'fortran_order': False, 'shape': (2, 16), }\n", b"cos\nsystem\n"),
        npy_header("{" * 5000),
        npy_header("__import__('os').abort()\n"),
    ],
)
def test_arrays_that_are_no_histogram_are_refused(small: bytes, content: bytes) -> None:
    refused(packed({**members_of(small), "000000.npy": content}))


def test_other_members_are_refused(small: bytes) -> None:
    members = members_of(small)
    refused(packed({**members, "999999.npy": members["000000.npy"]}))
    refused(packed({**members, "notes.txt": b"hello"}))
    refused(packed({name: content for name, content in members.items() if name != "000001.npy"}))
    refused(packed(members, compression=zipfile.ZIP_DEFLATED))
    refused(packed({**members, "checksum": b"0" * 64}, sign=False))


def test_claimed_sizes_allocate_nothing(small: bytes) -> None:
    entry = small.rindex(b"PK\x01\x02")
    bomb = bytearray(small)
    bomb[entry + 20 : entry + 28] = struct.pack("<II", 0xFFFFFFF0, 0xFFFFFFF0)  # sizes of the last member
    refused_in_little_memory(bytes(bomb))


@pytest.mark.parametrize("shape", ["(2, 500000000)", "(1000000000,)"])
def test_claimed_shapes_allocate_nothing(small: bytes, shape: str) -> None:
    header = npy_header(f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}\n", bytes(64))
    refused_in_little_memory(packed({**members_of(small), "000000.npy": header}))


def test_claimed_bins_allocate_nothing(small: bytes) -> None:
    refused_in_little_memory(forged(small, put("layers", 0, "output", 0, "bins", value=2**28)))


def refused_in_little_memory(data: bytes) -> None:
    tracemalloc.start()
    try:
        refused(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20, f"{peak} bytes for a file of {len(data)}"


def test_other_files_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ArtifactError, match=r"other\.npz is not a calibration file"):
        Calibration.load(tmp_path / "other.npz")
    for path in (tmp_path / "missing.ptqc", tmp_path, f"{tmp_path}/a\0b"):
        with pytest.raises(ArtifactError, match="cannot be read"):
            Calibration.load(path)
    for wrong in (None, 3, b"a.ptqc", ""):
        with pytest.raises(ConfigError, match="path of a file"):
            Calibration.load(wrong)  # type: ignore[arg-type]


def test_newer_versions_are_named(small: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"x\.ptqc has version 3, .* upgrade"):
        from_bytes(forged(small, put("version", value=3)), "x.ptqc")


def test_an_interrupted_calibration_is_not_taken_for_a_finished_one(tmp_path: Path) -> None:
    found = calibration([samples()])
    state = to_bytes(Contents(found.layers, found.input_spec, Progress("0" * 16, ("1" * 16, "2" * 16))))
    with pytest.raises(CalibrationError, match="interrupted after 2 batches"):
        Calibration.load(rewritten(tmp_path / "a.ptqc", state))


def test_a_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = calibration([samples()])
    found.save(tmp_path / "a.ptqc")
    before = (tmp_path / "a.ptqc").read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match=r"a\.ptqc: the calibration cannot be written: .*No space left"):
        calibration([samples() * 2]).save(tmp_path / "a.ptqc")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.ptqc", before)]
    with pytest.raises(ArtifactError, match="cannot be written"):
        found.save(tmp_path / "a.ptqc" / "below a file")
