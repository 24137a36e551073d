"""The network "fast": shapes, tiles, input, training, resumption, a movie through the jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from decode_engine.contract.configs import LocalizeConfig, SimulationConfig, TrainingConfig
from decode_engine.contract.jobs import LocalizeSpec, TrainSpec
from decode_engine.contract.messages import EventBody, MetricEvent
from decode_engine.domain.calibration import Calibration, GaussianPsf
from decode_engine.domain.camera import CameraModel
from decode_engine.domain.localizations import Localizations
from decode_engine.errors import CancelledError, ConfigError, ModelError
from decode_engine.inference.predictor import Predictor, PredictorOptions
from decode_engine.io.calibrations import write_calibration
from decode_engine.io.cameras import write_camera
from decode_engine.io.localizations import read_localizations
from decode_engine.io.models import read_model
from decode_engine.io.movies.source import BaseSource
from decode_engine.jobs import localize, train
from decode_engine.jobs.context import CancelToken, JobContext
from decode_engine.network.bundle import network_from_bundle, scaling_from_bundle
from decode_engine.network.fast_net import FastNet
from decode_engine.network.registry import build_network
from decode_engine.network.scaling import NetworkScaling
from decode_engine.simulation.camera_noise import CameraNoise

CALIBRATION = Calibration(
    psf=GaussianPsf(
        sigma0_x_nm=130.0, sigma0_y_nm=130.0, depth_nm=400.0, focus_x_nm=250.0,
        focus_y_nm=-250.0, z_min_nm=-500.0, z_max_nm=500.0,
    )
)  # fmt: skip
SCMOS = CameraModel(
    kind="scmos", pixel_size_x_nm=100.0, pixel_size_y_nm=100.0, offset_adu=100.0, e_per_adu=0.5,
    read_noise_e=1.5,
)  # fmt: skip
EMCCD = CameraModel(
    kind="emccd", pixel_size_x_nm=100.0, pixel_size_y_nm=100.0, offset_adu=100.0, e_per_adu=5.0,
    em_gain=200.0, read_noise_e=50.0,
)  # fmt: skip
SCALING = NetworkScaling.from_simulation(SimulationConfig(), CALIBRATION)


def lively(width: int = 3, context_frames: int = 3, **options: Any) -> FastNet:
    """Return a network whose every layer takes part: residual branches begin as zero."""
    generator = torch.Generator().manual_seed(1)
    network = build_network("fast", {"width": width, **options}, context_frames, generator)
    assert isinstance(network, FastNet)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("second.weight"):
                parameter.normal_(std=0.1, generator=generator)
    return network.eval()


class ArrayMovie(BaseSource):
    """A movie in memory."""

    def __init__(self, frames: np.ndarray[Any, Any]) -> None:
        super().__init__(Path("memory.tif"))
        self._frames = frames
        self._n_frames, self._height_px, self._width_px = frames.shape

    def _read(self, start: int, stop: int) -> np.ndarray[Any, Any]:
        return self._frames[start:stop]

    def close(self) -> None:
        return


@pytest.mark.parametrize(("height", "width"), [(8, 8), (13, 22), (40, 37)])
@pytest.mark.parametrize("context_frames", [1, 3])
@pytest.mark.parametrize("detail", [0, 8])
def test_any_frame_size(height: int, width: int, context_frames: int, detail: int) -> None:
    network = lively(context_frames=context_frames, detail=detail)
    output = network(torch.randn(2, context_frames, height, width))
    assert {tuple(m.shape) for m in output} == {(2, height, width)}
    assert all(bool((m > 0).all()) for n, m in output._asdict().items() if n.startswith("sigma"))


@pytest.mark.parametrize("detail", [0, 8])
def test_receptive_field_is_inside_the_halo(detail: int) -> None:
    network = lively(detail=detail).double()
    side = 2 * network.halo_px + network.alignment_px
    x = torch.randn(1, 3, side, side, dtype=torch.float64).requires_grad_()
    output = network(x)
    first = network.halo_px
    reach = 0
    for k in range(first, first + network.alignment_px):
        (gradient,) = torch.autograd.grad(output.logit[0, k, k], x, retain_graph=True)
        seen = gradient.abs().sum((0, 1)).nonzero()
        reach = max(reach, k - int(seen.min()), int(seen.max()) - k)
    assert 0.8 * network.halo_px < reach <= network.halo_px


@pytest.mark.parametrize("detail", [0, 8])
def test_tiles_leave_no_trace(detail: int) -> None:
    network = lively(detail=detail)
    logit = slice(1 if detail else 4)  # the last layer's rows of the first map
    with torch.no_grad():
        last = network.last
        last.weight[logit] *= 20  # some claims
        assert last.bias is not None
        last.bias[logit] = -3.0
    frames = np.random.default_rng(0).poisson(140.0, (3, 41, 431)).astype(np.uint16)
    found = []
    for tile_px in (1024, 240):
        options = PredictorOptions(tile_px=tile_px, precision="fp32", probability_threshold=0.2)
        predictor = Predictor(
            network, SCALING.stabilised(SCMOS), SCMOS, device=torch.device("cpu"), options=options
        )
        plan, _ = predictor.plan(ArrayMovie(frames))
        assert (len(plan.tiles) == 1) == (tile_px == 1024)
        batches = list(predictor.localize(ArrayMovie(frames)))
        found.append(Localizations.concatenate([b.localizations for b in batches]))
    assert len(found[0]) == len(found[1]) > 10
    for name in ("x_nm", "y_nm", "z_nm", "photons", "sigma_x_nm"):
        a, b = (getattr(f, name) for f in found)
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-2)


def test_the_last_level_sees_each_pixel_of_the_frames() -> None:
    """Nothing but its own 3x3 convolution is left: pixels come out where they went in."""
    network = lively(detail=8)
    with torch.no_grad():
        network.spread.weight.zero_()
        network.pixels.weight.zero_()
        network.pixels.weight[0, 1, 1, 1] = 1.0  # the middle frame's own pixel
        network.detail_net.second.weight.zero_()
        network.last.weight.zero_()
        network.last.weight[0, 0] = 1.0
    frames = torch.randn(1, 3, 11, 14, generator=torch.Generator().manual_seed(3))
    expected = torch.nn.functional.silu(frames[:, 1]) - 6.0
    torch.testing.assert_close(network(frames).logit, expected)


def test_options_are_checked() -> None:
    for wrong in ({"width": 4}, {"detail": -1}, {"loss": "other"}, {"size": 3}):
        with pytest.raises(ConfigError):
            build_network("fast", wrong, 3)
    with pytest.raises(ConfigError):
        build_network("fast", {}, 2)


@pytest.mark.parametrize("camera", [SCMOS, EMCCD], ids=["scmos", "emccd"])
def test_stabilised_input_has_the_same_noise_at_any_brightness(camera: CameraModel) -> None:
    scaling = SCALING.stabilised(camera)
    noise, generator = CameraNoise(camera), torch.Generator().manual_seed(0)
    spreads = []
    for photons in (10.0, 40.0, 400.0, 3000.0):
        light = torch.full((1, 100, 100), photons)
        frames = noise.to_photons(noise.sample(light, generator))
        spreads.append(float(scaling.frames_to_network(frames).std()) * scaling.input_scale)
    assert max(abs(s - 1) for s in spreads) < 0.08
    centre = scaling.frames_to_network(torch.tensor(scaling.input_offset))
    assert float(centre) == pytest.approx(0.0, abs=1e-6)


def test_linear_scaling_is_written_as_before_and_both_are_read() -> None:
    assert "input_excess" not in SCALING.to_dict()
    for scaling in (SCALING, SCALING.stabilised(EMCCD)):
        assert NetworkScaling.from_dict(scaling.to_dict()) == scaling
    with pytest.raises(ModelError, match="surprise"):
        NetworkScaling.from_dict({**SCALING.to_dict(), "surprise": 1.0})


def spec(folder: Path, name: str, **changes: Any) -> TrainSpec:
    write_calibration(CALIBRATION, folder / "cal.h5", overwrite=True)
    write_camera(SCMOS, folder / "cam.json", overwrite=True)
    config = TrainingConfig(
        network="fast",
        network_options={"width": 6, "loss": "set"},
        simulation=SimulationConfig(flux_mean=5000.0, flux_std=500.0, margin_px=2.0),
        patch_px=16,
        batch_size=2,
        steps=6,
        validation_frames=8,
        validate_every_steps=3,
        precision="fp32",
    )
    return TrainSpec(
        calibration=str(folder / "cal.h5"),
        camera=str(folder / "cam.json"),
        out=str(folder / name),
        config=config,
        device="cpu",
        **changes,
    )


def test_trained_interrupted_resumed_and_used_for_a_movie(tmp_path: Path) -> None:
    train.run(spec(tmp_path, "whole.decode"), JobContext())
    token = CancelToken()

    def cancel_after_validation(event: EventBody) -> None:
        if isinstance(event, MetricEvent) and "jaccard" in event.values:
            token.cancel()

    context = JobContext(emit=cancel_after_validation, cancel=token)
    with pytest.raises(CancelledError):
        train.run(spec(tmp_path, "parts.decode"), context)
    resumed = train.run(spec(tmp_path, "parts.decode", resume=True), JobContext())
    assert resumed["steps"] == 6
    whole, parts = (read_model(tmp_path / n) for n in ("whole.decode", "parts.decode"))
    for name, values in whole.weights.items():
        np.testing.assert_array_equal(values, parts.weights[name])
    assert isinstance(network_from_bundle(whole), FastNet)
    assert scaling_from_bundle(whole).input_excess == 1.0

    movie = np.random.default_rng(0).poisson(140.0, (5, 21, 30)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "movie.tif", movie, photometric="minisblack")
    job = LocalizeSpec(
        movies=(str(tmp_path / "movie.tif"),),
        model=str(tmp_path / "whole.decode"),
        out=str(tmp_path / "out.h5"),
        config=LocalizeConfig(probability_threshold=0.001),
        device="cpu",
    )
    assert localize.run(job, JobContext())["frames"] == 5
    assert len(read_localizations(tmp_path / "out.h5")) > 0


@pytest.mark.parametrize("detail", [0, 8])
def test_flip_z_negates_z_and_nothing_else(detail: int) -> None:
    network = build_network("fast", {"width": 6, "detail": detail}, 3).eval()
    with torch.no_grad():
        network.last.bias.normal_(generator=torch.Generator().manual_seed(2))  # type: ignore[union-attr, operator]
        frames = torch.randn(2, 3, 16, 20, generator=torch.Generator().manual_seed(3))
        before = network(frames)
        assert network.flip_z()
        after = network(frames)
    assert float(before.z.abs().min()) > 0
    for name in before._fields:
        sign = -1.0 if name == "z" else 1.0
        torch.testing.assert_close(getattr(after, name), sign * getattr(before, name))
