"""The error tree: each error has a stable ``code``, a sentence for the user, and a way out.

The command line turns ``exit_code`` into the process exit status, ``serve`` turns the whole
error into a ``failed`` event, and the app turns that event into a card.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "CalibrationError",
    "CameraError",
    "CancelledError",
    "ConfigError",
    "DeviceError",
    "DiskFullError",
    "DivergedError",
    "EngineError",
    "InputError",
    "LocalizationsError",
    "MismatchError",
    "ModelError",
    "MovieError",
    "OutputError",
    "PeerError",
    "ProtocolError",
    "RunError",
]


class EngineError(Exception):
    """Base of all errors that a user can act on.

    Parameters
    ----------
    message : str
        One sentence that says what was wrong and names the offending value.
    hint : str
        One sentence that says what to do next.
    detail : str
        Technical text for the log (a traceback, a full path list); never shown first.
    """

    code: ClassVar[str] = "engine_error"
    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, *, hint: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InputError(EngineError):
    """The user gave something that cannot be used (exit code 2)."""

    code = "bad_input"
    exit_code = 2


class ConfigError(InputError):
    """A setting is unknown, of the wrong type or out of its range."""

    code = "bad_config"


class CalibrationError(InputError):
    """A calibration or bead file cannot be used."""

    code = "bad_calibration"


class CameraError(InputError):
    """Camera values are impossible or do not fit the movie."""

    code = "bad_camera"


class MovieError(InputError):
    """A movie cannot be read, or vanished while it was being read."""

    code = "bad_movie"


class ModelError(InputError):
    """A model bundle cannot be read or lacks a part."""

    code = "bad_model"


class MismatchError(InputError):
    """Model, calibration, camera and movie do not belong together."""

    code = "mismatch"


class LocalizationsError(InputError):
    """A table of localizations or emitters cannot be used."""

    code = "bad_localizations"


class OutputError(InputError):
    """The output exists already or cannot be written."""

    code = "bad_output"


class DiskFullError(OutputError):
    """The disk filled up; what was written so far is kept and the job can be resumed."""

    code = "disk_full"


class ProtocolError(InputError):
    """A line on the engine's standard input is not a valid command."""

    code = "bad_protocol"


class DeviceError(InputError):
    """The requested device does not exist here."""

    code = "bad_device"


class RunError(EngineError):
    """The work itself failed (exit code 3)."""

    code = "run_failed"


class DivergedError(RunError):
    """Training produced NaN or diverged and could not be recovered."""

    code = "diverged"


class PeerError(RunError):
    """Another process of the same job ended; it or the first one says why."""

    code = "peer_failed"


class CancelledError(EngineError):
    """The user cancelled; partial results are kept where they can be resumed (exit code 4)."""

    code = "cancelled"
    exit_code = 4
