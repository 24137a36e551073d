"""What a person at a terminal, or a log file, sees of a job."""

from __future__ import annotations

import pytest

from decode_engine.cli import reporter
from decode_engine.cli.reporter import TerminalReporter
from decode_engine.contract.messages import LogEvent, MetricEvent, ProgressEvent, StageEvent


def test_a_log_file_gets_stages_validations_and_few_progress_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(reporter.time, "monotonic", lambda: clock[0])
    terminal = TerminalReporter()
    terminal(StageEvent(name="Training"))
    for done in range(1, 101):  # one progress event a second
        clock[0] += 1.0
        terminal(ProgressEvent(done=done, total=200, unit="steps", eta_s=200 - done))
        terminal(MetricEvent(step=done, values={"loss": 1.0}))
    terminal(MetricEvent(step=100, values={"jaccard": 0.5, "rmse_lateral_nm": 20.0}))
    terminal(LogEvent(level="warning", text="odd"))
    terminal.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Training …"
    assert lines[1] == "10 of 200 steps, about 190 s left"
    assert sum("steps" in line for line in lines) == 10
    assert lines[-2] == "step 100: jaccard 0.5  rmse_lateral_nm 20"
    assert lines[-1] == "Warning: odd"


def test_a_terminal_gets_a_bar_that_goes_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter.sys.stderr, "isatty", lambda: True)
    terminal = TerminalReporter()
    terminal(ProgressEvent(done=1, total=4, unit="frames"))
    terminal(MetricEvent(step=1, values={"frames_per_s": 3.0}))
    terminal(ProgressEvent(done=4, total=4, unit="frames"))
    assert "0/4 [" in capsys.readouterr().err
    terminal(StageEvent(name="Next"))
    assert capsys.readouterr().err.endswith("Next …\n")
