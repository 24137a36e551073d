"""Processes of one training stay in step: gradients, failures, clock and requests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.multiprocessing

from decode_engine.errors import CancelledError, ConfigError, DeviceError, EngineError
from decode_engine.io.launcher import Launch, read_launch
from decode_engine.training.distributed import Ranks, joined

SIZE = 2

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch cannot connect processes"
)


class Requests:
    def __init__(self, *, finishing: bool = False, cancelled: bool = False) -> None:
        self.finishing = finishing
        self._cancelled = cancelled

    def check(self) -> None:
        if self._cancelled:
            raise CancelledError("Cancelled.")


def run_together(work: object, folder: Path) -> list[dict[str, object]]:
    """Run ``work(ranks)`` in two processes; return what each of them returned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        torch.multiprocessing.spawn(_process, args=(work, folder), nprocs=SIZE)
    return [torch.load(folder / f"{rank}.pt") for rank in range(SIZE)]


def _process(rank: int, work: object, folder: Path) -> None:
    store = torch.distributed.FileStore(str(folder / "meeting"), SIZE)
    with pytest.MonkeyPatch.context() as patch:
        begin = torch.distributed.init_process_group
        patch.setattr(
            torch.distributed,
            "init_process_group",
            lambda backend, timeout: begin(
                backend, timeout=timeout, store=store, rank=rank, world_size=SIZE
            ),
        )
        with joined(Launch(rank=rank, size=SIZE, local_rank=rank)) as ranks:
            torch.save(work(ranks), folder / f"{rank}.pt")  # type: ignore[operator]


def _work(ranks: Ranks) -> dict[str, object]:
    found: dict[str, object] = {}
    torch.manual_seed(ranks.rank)  # unlike weights at first
    network = torch.nn.Linear(3, 2)
    ranks.spread(network)
    found["weights"] = network.weight.detach().clone()

    inputs = torch.full((4, 3), float(ranks.rank + 1))

    def compute() -> torch.Tensor:
        loss = network(inputs).square().mean()
        loss.backward()
        return loss.detach()

    found["loss"] = float(ranks.average(network, compute))
    assert network.weight.grad is not None
    found["gradient"] = network.weight.grad.clone()

    found["elapsed_s"] = ranks.meet(10.0 + ranks.rank, Requests(finishing=ranks.is_first))
    found["finishing"] = ranks.finishing(Requests())
    found["made"] = ranks.first(lambda: f"by {ranks.rank}")

    def fails() -> torch.Tensor:
        if ranks.rank == 1:
            raise ConfigError("Bad.", hint="Mend it.")
        return compute()

    try:
        ranks.average(network, fails)
    except EngineError as error:
        found["failure"] = (type(error).__name__, error.message, error.hint)
    try:
        with ranks.together():
            if ranks.is_first:
                raise ConfigError("Worse.")
    except EngineError as error:
        found["joint failure"] = type(error).__name__
    ranks.meet(11.0, Requests(cancelled=ranks.rank == 1))
    try:
        ranks.check(Requests())
    except CancelledError:
        found["cancelled"] = True
    return found


def test_two_processes_stay_in_step(tmp_path: Path) -> None:
    first, second = run_together(_work, tmp_path)
    assert torch.equal(first["weights"], second["weights"])  # type: ignore[arg-type]
    assert first["loss"] == second["loss"]
    assert torch.equal(first["gradient"], second["gradient"])  # type: ignore[arg-type]
    assert first["elapsed_s"] == second["elapsed_s"] == 10.0
    assert first["finishing"] is True
    assert second["finishing"] is True
    assert first["made"] == second["made"] == "by 0"
    assert first["failure"] == ("RunError", "Process 1 of 2 failed: Bad.", "Mend it.")
    assert second["failure"] == ("PeerError", "Process 1 of 2 failed: Bad.", "Mend it.")
    assert first["joint failure"] == "ConfigError"
    assert second["joint failure"] == "PeerError"
    assert first["cancelled"]
    assert second["cancelled"]

    # The reference: one process with both shares of the batch.
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 2)
    inputs = torch.cat([torch.full((4, 3), 1.0), torch.full((4, 3), 2.0)])
    loss = network(inputs).square().mean()
    loss.backward()
    assert first["loss"] == pytest.approx(loss.item())
    torch.testing.assert_close(first["gradient"], network.weight.grad)


def test_alone_nothing_is_asked_of_others() -> None:
    ranks = Ranks()
    assert ranks.is_first
    assert ranks.share_of(7) == 7
    assert ranks.own_device("cuda:3") == "cuda:3"
    assert ranks.meet(5.0, Requests(cancelled=True)) == 5.0
    assert ranks.first(lambda: 3) == 3
    assert ranks.finishing(Requests(finishing=True))
    with pytest.raises(CancelledError):
        ranks.check(Requests(cancelled=True))


def test_what_cannot_be_shared_is_refused() -> None:
    ranks = Ranks(Launch(rank=1, size=2, local_rank=1))
    assert ranks.share_of(8) == 4
    with pytest.raises(ConfigError, match="3 samples"):
        ranks.share_of(3)
    with pytest.raises(DeviceError, match="cuda:0"):
        ranks.own_device("cuda:0")
    assert ranks.own_device("cpu") == "cpu"


def test_streams_differ_between_processes_and_after_resuming() -> None:
    first, second = (Ranks(Launch(rank=i, size=2, local_rank=i)) for i in range(2))
    names = {r.stream_name(step) for r in (first, second) for step in (0, 50)}
    assert first.stream_name(50) == first.stream_name() == Ranks().stream_name()
    assert len(names) == 3


def test_only_torchrun_makes_processes_of_one_job() -> None:
    batch_system = {"RANK": "3", "WORLD_SIZE": "8"}
    assert read_launch(batch_system) == Launch()
    launch = read_launch({**batch_system, "LOCAL_RANK": "1", "TORCHELASTIC_RUN_ID": "x"})
    assert launch == Launch(rank=3, size=8, local_rank=1)
    assert launch.follows
