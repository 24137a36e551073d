"""A stand-in engine that answers every submitted job as its first argument says."""

from __future__ import annotations

import os
import sys

from decode_engine.contract.messages import (
    PROTOCOL_VERSION,
    AcceptedEvent,
    ArtifactEvent,
    CancelCommand,
    Event,
    EventBody,
    FailedEvent,
    FinishedEvent,
    HelloEvent,
    ProgressEvent,
    ShutdownCommand,
    StageEvent,
    SubmitCommand,
    decode_command,
    encode_line,
)


def main(behaviour: str, image: str) -> None:
    seq = 0

    def send(job_id: str | None, body: EventBody) -> None:
        nonlocal seq
        sys.stdout.buffer.write(encode_line(Event(job_id=job_id, seq=seq, t_s=0.0, body=body)))
        sys.stdout.buffer.flush()
        seq += 1

    protocol = 99 if behaviour == "other-version" else PROTOCOL_VERSION
    send(None, HelloEvent(protocol=protocol, version="test", pid=os.getpid(), devices=["cpu"]))
    for line in sys.stdin.buffer:
        command = decode_command(line)
        if isinstance(command, ShutdownCommand):
            return
        if isinstance(command, CancelCommand):
            send(command.job_id, FinishedEvent(reason="cancelled"))
        if isinstance(command, SubmitCommand):
            send(command.job_id, AcceptedEvent())
            send(command.job_id, StageEvent(name="Localizing the example movie"))
            send(command.job_id, ProgressEvent(done=100, total=400, unit="frames"))
            if behaviour == "crash":
                sys.stderr.write("the last words\n")
                sys.stderr.flush()
                os.abort()
            if behaviour == "fail":
                failure = FailedEvent(
                    code="disk_full", message="The disk is full.", hint="Free it."
                )
                send(command.job_id, failure)
            if behaviour == "complete":
                send(command.job_id, ArtifactEvent(kind="image", path=image))
                summary = {
                    "image": image,
                    "n_localizations": 12345,
                    "jaccard": 0.83,
                    "rmse_lateral_nm": 21.5,
                }
                send(command.job_id, FinishedEvent(reason="completed", summary=summary))


if __name__ == "__main__":
    main(*sys.argv[1:])
