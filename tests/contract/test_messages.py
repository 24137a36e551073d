"""Every message and every job specification survives the wire."""

from __future__ import annotations

import typing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decode_engine.contract import configs, jobs, messages
from decode_engine.contract.base import Config
from decode_engine.contract.messages import (
    Event,
    ProgressEvent,
    decode_command,
    decode_event,
    encode_event,
    encode_line,
)
from decode_engine.errors import ProtocolError


def _members(union: Any) -> list[type[Config]]:
    return list(typing.get_args(typing.get_args(union)[0]))


_EXAMPLES: dict[str, Any] = {
    "job_id": "a",
    "spec": jobs.InspectSpec(file="x"),
    "protocol": 1,
    "version": "1",
    "pid": 3,
    "devices": ["cpu"],
    "name": "n",
    "done": 1.0,
    "total": float("inf"),
    "step": 4,
    "values": {"loss": float("nan")},
    "path": "p",
    "shape": (1, 2),
    "dtype": "f4",
    "text": "t",
    "kind": "k",
    "code": "c",
    "message": "m",
    "reason": "completed",
    "beads": ("b.tif",),
    "out": "o",
    "config": configs.CalibrateConfig(dz_nm=10, pixel_size_x_nm=100),
    "calibration": "c.h5",
    "camera": "c.json",
    "frames": 3,
    "size_px": (4, 5),
    "movies": ("m.tif",),
    "model": "m.decode",
    "movie": "m.tif",
    "localizations": "l.h5",
    "truth": "t.csv",
    "file": "f",
}


def _example(model: type[Config]) -> Config:
    required = [n for n, f in model.model_fields.items() if f.is_required()]
    return model(**{n: _EXAMPLES[n] for n in required})


@pytest.mark.parametrize("model", _members(messages.EventBody), ids=lambda m: m.__name__)
def test_every_event_round_trips(model: type[Config]) -> None:
    event = Event(job_id="j", seq=3, t_s=0.5, body=_example(model))  # type: ignore[arg-type]
    again = decode_event(encode_line(event))
    # NaN is unequal to itself, so compare what is written.
    assert encode_line(again) == encode_line(event)


@pytest.mark.parametrize("model", _members(messages.Command), ids=lambda m: m.__name__)
def test_every_command_round_trips(model: type[Config]) -> None:
    command: Any = _example(model)
    assert decode_command(encode_line(command)) == command


@pytest.mark.parametrize("model", _members(jobs.JobSpec), ids=lambda m: m.__name__)
def test_every_job_can_be_submitted(model: type[Config]) -> None:
    spec: Any = _example(model)
    command = messages.SubmitCommand(job_id="j", spec=spec)
    assert decode_command(encode_line(command)) == command


@pytest.mark.parametrize("name", configs.__all__)
def test_every_setting_says_what_it_means(name: str) -> None:
    schema = getattr(configs, name).model_json_schema()
    for key, entry in schema["properties"].items():
        if key not in ("schema_version", "simulation"):
            assert entry.get("description"), f"{name}.{key} has no description"


@given(done=st.floats(allow_nan=False), total=st.floats(allow_nan=False))
@settings(max_examples=50, deadline=None)
def test_any_number_survives(done: float, total: float) -> None:
    event = Event(job_id=None, seq=0, t_s=0, body=ProgressEvent(done=done, total=total))
    assert decode_event(encode_line(event)) == event


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_arbitrary_bytes_never_crash_the_decoder(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_command(line)


def test_a_message_that_is_too_long_is_refused() -> None:
    with pytest.raises(ProtocolError, match="exceeds"):
        encode_line(messages.LogEvent(text="x" * messages.MAX_LINE_BYTES))


@pytest.mark.parametrize(
    "body",
    [
        messages.LogEvent(text="x" * 70_000),
        messages.FailedEvent(
            code="c", message="m" * 70_000, hint="h" * 70_000, detail="d" * 70_000
        ),
        messages.FinishedEvent(
            reason="completed", summary={"paths": ["p" * 90] * 2_000, "n": 3, "long": "y" * 70_000}
        ),
        messages.ArtifactEvent(kind="table", path="bad\udcff.csv"),
    ],
    ids=lambda body: type(body).__name__,
)
def test_any_event_gets_through(body: messages.EventBody) -> None:
    """Regression: long logs ended the job, and no text of a path ended the stream."""
    line = encode_event(Event(job_id="j", seq=1, t_s=0, body=body))
    assert len(line) <= messages.MAX_LINE_BYTES
    again = decode_event(line).body
    assert type(again) is type(body)
    if isinstance(again, messages.FinishedEvent):
        assert again.summary["n"] == 3
        assert "paths" not in again.summary
