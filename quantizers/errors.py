"""The error tree of the project.

Every message says what happened, where (layer, tensor or file) and what to do.  Errors that Python users would expect to be
``ValueError`` or ``TypeError`` are those too, so that existing ``except`` clauses keep working.
"""

from __future__ import annotations

__all__ = [
    "AlreadyQuantizedError",
    "ArtifactError",
    "CalibrationError",
    "ConfigError",
    "CorruptArtifactError",
    "ExportError",
    "FuseError",
    "MismatchError",
    "ModelError",
    "NoCalibrationDataError",
    "NonFiniteError",
    "ProgramError",
    "QuantizationError",
    "QuantizationWarning",
    "ShapeError",
    "TraceError",
    "UnsupportedDtypeError",
    "UnsupportedOperatorError",
]


class QuantizationError(Exception):
    """Base of every error that this project raises on purpose."""


class ConfigError(QuantizationError, ValueError):
    """A setting is out of its range or of the wrong kind."""


class ModelError(QuantizationError):
    """The model cannot be quantized as it is."""


class AlreadyQuantizedError(ModelError):
    """The model already carries calibration hooks or quantized layers."""


class FuseError(ModelError):
    """A layer named for fusing does not exist or cannot be fused."""


class TraceError(ModelError):
    """The model's dataflow could not be traced, and the request needs it."""


class CalibrationError(QuantizationError):
    """Calibration data is missing or unusable."""


class NoCalibrationDataError(CalibrationError):
    """No data reached the quantizer or the model."""


class NonFiniteError(CalibrationError, ValueError):
    """A tensor holds NaN or Inf."""


class UnsupportedDtypeError(CalibrationError, TypeError):
    """A tensor is not of a floating-point dtype."""


class ShapeError(CalibrationError, ValueError):
    """A tensor has a shape that the quantizer cannot use."""


class ArtifactError(QuantizationError):
    """A saved file is missing, unreadable or cannot be written."""


class CorruptArtifactError(ArtifactError):
    """A saved file does not match its manifest or checksum."""


class MismatchError(ArtifactError):
    """A saved model does not answer as the model in memory does."""


class ExportError(ArtifactError):
    """A model cannot be written in the requested format."""


class ProgramError(ArtifactError):
    """A saved Paddle program cannot be read, or cannot be made a layer."""


class UnsupportedOperatorError(ProgramError):
    """A saved program holds operators that cannot be replayed."""


class QuantizationWarning(UserWarning):
    """Something that the user should know, though the result is usable."""
