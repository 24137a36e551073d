"""The paper's network: its size, its parts, its independence of frame size and batch."""

from __future__ import annotations

import math

import pytest
import torch

from decode_engine.contract.configs import SimulationConfig
from decode_engine.domain.calibration import Calibration, GaussianPsf
from decode_engine.errors import ConfigError, DeviceError, ModelError
from decode_engine.network.base import LocalizationNetwork
from decode_engine.network.device import autocast_dtype, choose_device
from decode_engine.network.registry import build_network, network_names
from decode_engine.network.scaling import NetworkScaling


@pytest.fixture(scope="module")
def small() -> LocalizationNetwork:
    """Return a narrow network in double precision."""
    return build_network("decode", {"features": 4}, 3).double().eval()


def frames(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameter_counts_are_those_of_the_paper() -> None:
    network = build_network("decode", {}, 3)
    parts = dict(network.named_children())
    assert count(parts["frame_net"]) == 1_027_008
    assert count(parts["context_net"]) == 1_088_784
    heads = [count(part) for name, part in parts.items() if name.endswith("_head")]
    assert sum(heads) == 83_626
    assert count(network) == 1_027_008 + 1_088_784 + 83_626


def test_one_frame_variant_differs_only_in_the_first_context_layer() -> None:
    three, one = (build_network("decode", {}, n) for n in (3, 1))
    assert count(three) - count(one) == 2 * 48 * 48 * 9
    output = one(torch.zeros(1, 1, 8, 8))
    assert output.logit.shape == (1, 8, 8)


def test_initial_weights() -> None:
    """Kaiming normal (fan in): variance 2 / fan_in; zero biases; -6 for the logit."""
    network = build_network("decode", {}, 3, torch.Generator().manual_seed(1))
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            assert torch.all(parameter == (-6.0 if name == "probability_head.last.bias" else 0.0))
        elif parameter.numel() > 10_000:
            fan_in = parameter[0].numel()
            expected = math.sqrt(2.0 / fan_in)
            # the standard deviation of n normal numbers is known to 1 / sqrt(2 n); six of those
            tolerance = 6 / math.sqrt(2 * parameter.numel())
            assert float(parameter.detach().std()) == pytest.approx(expected, rel=tolerance)


def test_weights_come_from_the_generator_alone() -> None:
    state = torch.get_rng_state()
    a, b, c = (
        build_network("decode", {"features": 4}, 3, torch.Generator().manual_seed(s))
        for s in (1, 1, 2)
    )
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not all(torch.equal(p, q) for p, q in zip(a.parameters(), c.parameters(), strict=True))


def test_output_ranges(small: LocalizationNetwork) -> None:
    with torch.no_grad():
        output = small(50 * frames(1, 2, 3, 16, 16))
    for name in ("x", "y", "z"):
        assert float(getattr(output, name).abs().max()) <= 1.0
    for name in ("photons", "background"):
        values = getattr(output, name)
        assert float(values.min()) >= 0.0
        assert float(values.max()) <= 1.0
    for name in ("sigma_x", "sigma_y", "sigma_z", "sigma_photons"):
        values = getattr(output, name)
        assert float(values.min()) >= 0.001
        assert float(values.max()) <= 3.001


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 19), (5, 30), (1, 1)])
def test_any_frame_size(small: LocalizationNetwork, height: int, width: int) -> None:
    output = small(frames(2, 2, 3, height, width))
    assert all(maps.shape == (2, height, width) for maps in output)


def test_odd_size_does_not_change_results_away_from_the_border(small: LocalizationNetwork) -> None:
    """Cutting a frame changes nothing farther than the receptive field from the cut."""
    whole = frames(3, 1, 3, 120, 120)
    cut = whole[..., :117, :118]
    reach = small.halo_px
    a, b = small(whole), small(cut)
    for name, x, y in zip(a._fields, a, b, strict=True):
        kept = (slice(None), slice(0, 117 - reach), slice(0, 118 - reach))
        torch.testing.assert_close(x[kept], y[kept], rtol=0, atol=1e-12, msg=name)


def test_receptive_field_is_inside_the_halo(small: LocalizationNetwork) -> None:
    """A changed pixel reaches no output pixel farther away than the halo."""
    a = frames(4, 1, 3, 128, 128)
    b = a.clone()
    row, column = 65, 62
    b[0, 1, row, column] += 100.0
    changed = (small(a).logit != small(b).logit)[0].nonzero()
    distance = (changed - torch.tensor([row, column])).abs().max()
    assert 0 < int(distance) <= small.halo_px


def test_frames_encoded_once_give_the_same_as_windows(small: LocalizationNetwork) -> None:
    movie = frames(5, 6, 1, 12, 20)
    features = small.encode(movie)
    windows = torch.stack([features[t : t + 3] for t in range(4)])
    shared = small.fuse(windows)
    plain = small(torch.stack([movie[t : t + 3, 0] for t in range(4)]))
    for a, b in zip(shared, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_frames_are_not_mixed_up(small: LocalizationNetwork) -> None:
    """The context network tells the first frame from the last."""
    movie = frames(6, 1, 3, 12, 12)
    assert not torch.allclose(small(movie).logit, small(movie.flip(1)).logit)


def test_weight_decay_is_for_convolution_weights_only() -> None:
    network = build_network("decode", {"features": 4}, 3)
    decayed, others = network.decayed_parameters()
    names = {id(p): n for n, p in network.named_parameters()}
    assert {names[id(p)].rsplit(".", 1)[1] for p in decayed} == {"weight"}
    assert {names[id(p)].rsplit(".", 1)[1] for p in others} == {"bias"}
    assert len(decayed) + len(others) == len(names)


def test_unknown_names_are_refused_with_the_nearest() -> None:
    assert "decode" in network_names()
    with pytest.raises(ConfigError, match="no network named 'decod'") as error:
        build_network("decod", {}, 3)
    assert "decode" in error.value.hint
    with pytest.raises(ConfigError, match="no option 'feature'") as error:
        build_network("decode", {"feature": 3}, 3)
    assert "features" in error.value.hint
    with pytest.raises(ConfigError, match="2"):
        build_network("decode", {}, 2)


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(DeviceError, match="'tpu' does not exist"):
        choose_device("tpu")
    assert autocast_dtype(torch.device("cpu"), "fp32") is None
    assert autocast_dtype(torch.device("cpu"), "bf16") is torch.bfloat16


def calibration(z_min_nm: float, z_max_nm: float) -> Calibration:
    return Calibration(
        psf=GaussianPsf(
            sigma0_x_nm=130.0,
            sigma0_y_nm=130.0,
            depth_nm=400.0,
            z_min_nm=z_min_nm,
            z_max_nm=z_max_nm,
        )
    )


@pytest.mark.parametrize(("low", "high"), [(-900.0, 500.0), (-800.0, 0.0), (-600.0, 600.0)])
def test_scaling_reaches_both_ends_of_z(low: float, high: float) -> None:
    """Regression: a scale from the upper bound alone left z < -600 of -900..500 unreachable."""
    scaling = NetworkScaling.from_simulation(SimulationConfig(), calibration(low, high))
    z = scaling.z_to_network(torch.tensor([low, high, 0.5 * (low + high)]))
    # tanh reaches 1 only at infinity: leave a margin
    torch.testing.assert_close(z, torch.tensor([-1 / 1.2, 1 / 1.2, 0.0]))
    torch.testing.assert_close(
        scaling.z_from_network(z), torch.tensor([low, high, 0.5 * (low + high)])
    )


@pytest.mark.parametrize("std", [0.0, 20.0, 2000.0])
def test_scaling_leaves_room_above_the_mean_flux(std: float) -> None:
    """Regression: molecules of equal flux were 1 in network units, which a sigmoid never gives."""
    simulation = SimulationConfig(flux_mean=3500.0, flux_std=std)
    scaling = NetworkScaling.from_simulation(simulation, calibration(-500.0, 500.0))
    assert scaling.photon_max >= 1.2 * 3500.0
    assert scaling.photon_max >= 3500.0 + 8.0 * std


def test_scaling_leaves_room_for_the_brightest_samples() -> None:
    simulation = SimulationConfig(flux_mean=1000.0, flux_std=100.0, flux_spread=5.0)
    scaling = NetworkScaling.from_simulation(simulation, calibration(-500.0, 500.0))
    assert scaling.photon_max >= 5.0 * 1300.0


def test_scaling_round_trips() -> None:
    scaling = NetworkScaling.from_simulation(SimulationConfig(), calibration(-500.0, 500.0))
    values = torch.tensor([0.0, 12.0, 3500.0])
    for there, back in (
        (scaling.photons_to_network, scaling.photons_from_network),
        (scaling.background_to_network, scaling.background_from_network),
        (scaling.z_to_network, scaling.z_from_network),
    ):
        torch.testing.assert_close(back(there(values)), values)
    assert NetworkScaling.from_dict(scaling.to_dict()) == scaling
    with pytest.raises(ModelError, match="photon_max"):
        NetworkScaling.from_dict({k: v for k, v in scaling.to_dict().items() if k != "photon_max"})


def test_scaling_of_a_two_dimensional_model() -> None:
    flat = Calibration(psf=GaussianPsf(sigma0_x_nm=130.0, sigma0_y_nm=130.0))
    scaling = NetworkScaling.from_simulation(SimulationConfig(), flat)
    assert not scaling.is_3d
    assert float(scaling.z_to_network(torch.tensor(3.0))) == 0.0
