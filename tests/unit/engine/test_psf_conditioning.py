"""A starter that is set to a PSF by its weights does what it would do if it were told the PSF."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from decode_engine.contract.configs import TrainingConfig
from decode_engine.domain.calibration import GaussianPsf
from decode_engine.errors import ModelError
from decode_engine.io import starters
from decode_engine.io.calibrations import write_calibration
from decode_engine.io.models import ModelBundle, read_model, write_model
from decode_engine.jobs import train
from decode_engine.jobs.context import JobContext
from decode_engine.network.psf_conditioning import (
    Modulation,
    PsfConditioning,
    fold,
    psf_images,
)
from decode_engine.psf.models import psf_from_calibration
from tests.training_samples import CALIBRATION, train_spec, write_inputs

sys.path.insert(0, str(Path(__file__).parents[3] / "installer"))

import psf_families
import starter_source
from conditioned_net import ConditionedNet  # beside the scripts that use it

Z_NM = torch.linspace(-400.0, 400.0, 5)
WINDOW_PX = 9


def gaussian(**changes: float) -> GaussianPsf:
    assert isinstance(CALIBRATION.psf, GaussianPsf)
    return dataclasses.replace(CALIBRATION.psf, **changes)


def images(psf: GaussianPsf) -> torch.Tensor:
    calibration = dataclasses.replace(CALIBRATION, psf=psf)
    return psf_images(psf_from_calibration(calibration), Z_NM, WINDOW_PX)


def family(count: int = 40) -> torch.Tensor:
    rng = np.random.default_rng(4)
    widths = rng.uniform(100.0, 190.0, (count, 2))
    depths = rng.uniform(300.0, 500.0, count)
    return torch.stack(
        [
            images(gaussian(sigma0_x_nm=x, sigma0_y_nm=y, depth_nm=depth))
            for (x, y), depth in zip(widths, depths, strict=True)
        ]
    )


def conditioning(channels: tuple[int, ...]) -> PsfConditioning:
    """Return one with an effect on everything."""
    generator = torch.Generator().manual_seed(3)
    made = PsfConditioning.from_images(Z_NM, family(), 4, channels, generator)
    with torch.no_grad():
        made.out.weight.normal_(0.0, 0.3, generator=generator)
        made.out.bias.normal_(0.0, 0.3, generator=generator)
    return made.requires_grad_(False)


def test_sketches_are_in_standard_deviations_of_the_family_and_limited() -> None:
    known = conditioning((6,))
    sketches = known.sketch(family())
    torch.testing.assert_close(sketches.mean(0), torch.zeros(4), atol=0.05, rtol=0)
    torch.testing.assert_close(sketches.pow(2).mean(0).sqrt(), torch.ones(4), atol=0.1, rtol=0)
    strange = known.sketch(images(gaussian(sigma0_x_nm=600.0)))
    assert float(strange.abs().max()) == 3.0


def test_it_begins_without_effect() -> None:
    made = PsfConditioning.from_images(Z_NM, family(), 4, (6, 12), torch.Generator().manual_seed(0))
    for modulation in made(made.sketch(family(3))):
        assert bool((modulation.gain == 1).all())
        assert bool((modulation.shift == 0).all())


@pytest.mark.parametrize("shape", [(16, 24), (13, 18)])
def test_folded_weights_do_what_modulated_features_do(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    network = ConditionedNet(3, generator, width=6).eval().requires_grad_(False).double()
    for parameter in network.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    inputs = network.context_inputs()
    known = conditioning(tuple(c.out_channels for c in inputs)).double()
    sketch = known.sketch(images(gaussian(sigma0_x_nm=165.0)).double())
    network.condition(known, sketch)
    frames = torch.randn(2, 3, *shape, generator=generator, dtype=torch.float64)
    told = network(frames)

    nothing = [
        Modulation(gain=torch.ones(c.out_channels), shift=torch.zeros(c.out_channels))
        for c in inputs
    ]
    network.condition(_without_effect(known), sketch)
    untold = network(frames)
    assert float((told.x - untold.x).abs().max()) > 1e-3
    fold(inputs, nothing, known(sketch))
    folded = network(frames)
    for ours, theirs in zip(folded, told, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def _without_effect(known: PsfConditioning) -> PsfConditioning:
    arrays = known.arrays()
    arrays["out.weight"] *= 0
    arrays["out.bias"] *= 0
    return PsfConditioning.from_arrays(arrays, known._channels).double()


def test_each_sample_of_a_batch_is_modulated_by_its_own_psf() -> None:
    network = ConditionedNet(3, torch.Generator().manual_seed(1), width=6).requires_grad_(False)
    network.last.weight.normal_(generator=torch.Generator().manual_seed(2))
    known = conditioning(tuple(c.out_channels for c in network.context_inputs()))
    sketches = known.sketch(family(3))
    network.condition(known, sketches[0])
    frames = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    network.train()
    network.sketches = sketches
    together = network(frames)
    network.eval()
    for k in range(3):
        network.condition(known, sketches[k])
        alone = network(frames[k : k + 1])
        torch.testing.assert_close(together.z[k], alone.z[0], atol=1e-5, rtol=1e-4)


def test_arrays_make_it_again_and_others_are_refused() -> None:
    known = conditioning((6, 12))
    again = PsfConditioning.from_arrays(known.arrays(), (6, 12))
    sketch = known.sketch(family(2))
    for ours, theirs in zip(again(sketch), known(sketch), strict=True):
        assert torch.equal(ours.gain, theirs.gain)
        assert torch.equal(ours.shift, theirs.shift)
    with pytest.raises(ModelError, match="does not fit its network"):
        PsfConditioning.from_arrays(known.arrays(), (6, 13))
    lacking = known.arrays()
    del lacking["mean"]
    with pytest.raises(ModelError, match="does not fit its network"):
        PsfConditioning.from_arrays(lacking, (6, 12))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("z_nm", ()),
        ("z_nm", (4,)),
        ("mean", ()),
        ("mean", (5, 9)),
        ("mean", (5, 9, 8)),
        ("mean", (5, 8, 8)),
        ("components", (4,)),
        ("components", (4, 5, 9, 8)),
    ],
)
def test_damaged_arrays_are_refused(name: str, shape: tuple[int, ...]) -> None:
    arrays = conditioning((6,)).arrays()
    arrays[name] = np.zeros(shape, np.float32)
    with pytest.raises(ModelError, match="does not fit its network"):
        PsfConditioning.from_arrays(arrays, (6,))


def test_few_psfs_have_few_components() -> None:
    made = PsfConditioning.from_images(Z_NM, family(3), 16, (6,), torch.Generator().manual_seed(0))
    assert len(made.components) == 2


def test_making_one_draws_nothing_from_the_global_generator() -> None:
    before = torch.get_rng_state()
    conditioning((6,))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("mirrored_z", [False, True])
def test_a_calibration_of_fewer_heights_is_known_by_those(mirrored_z: bool) -> None:
    """What it would show beyond its ends (its last image, over and over) does not count."""
    known = conditioning((6, 12))
    sign = -1.0 if mirrored_z else 1.0
    whole = gaussian(sigma0_x_nm=165.0, focus_x_nm=sign * 250.0, focus_y_nm=sign * -250.0)
    low_nm, high_nm = (-150.0, 250.0) if mirrored_z else (-250.0, 150.0)
    cut = dataclasses.replace(whole, z_min_nm=low_nm, z_max_nm=high_nm)
    whole_psf, cut_psf = (
        psf_from_calibration(dataclasses.replace(CALIBRATION, psf=psf)) for psf in (whole, cut)
    )
    ideal = known.of_psf(whole_psf, mirrored_z=mirrored_z)
    z_nm = sign * known.z_nm
    ends_count = known(known.sketch(psf_images(cut_psf, z_nm, WINDOW_PX)))
    found = known.of_psf(cut_psf, mirrored_z=mirrored_z)
    for target, naive, ours in zip(ideal, ends_count, found, strict=True):
        wrong = float((naive.shift - target.shift).norm())
        assert wrong > 0.1
        assert float((ours.shift - target.shift).norm()) < 0.3 * wrong


def test_heights_that_are_all_known_change_nothing() -> None:
    known = conditioning((6,))
    everything = torch.ones(len(Z_NM), dtype=torch.bool)
    pictures = family(3)
    assert torch.equal(known.sketch(pictures, everything), known.sketch(pictures))


def test_a_psf_without_a_known_height_is_the_middle_of_the_family() -> None:
    nothing = torch.zeros(len(Z_NM), dtype=torch.bool)
    assert float(conditioning((6,)).sketch(family(3), nothing).abs().max()) == 0.0


def test_weights_that_would_not_be_finite_are_refused() -> None:
    network = ConditionedNet(3, torch.Generator().manual_seed(1), width=6).requires_grad_(False)
    inputs = network.context_inputs()
    dead = [
        Modulation(gain=torch.zeros(c.out_channels), shift=torch.zeros(c.out_channels))
        for c in inputs
    ]
    with pytest.raises(ModelError, match="would not be finite"):
        fold(inputs, dead, conditioning(tuple(c.out_channels for c in inputs))(torch.zeros(4)))


def test_each_sample_comes_with_the_sketch_of_its_own_microscope() -> None:
    family_2d = dataclasses.replace(psf_families.FAMILIES["2d"], roi_px=11)
    numbers = np.stack(
        [
            np.ascontiguousarray(
                psf_families.spline(
                    family_2d, family_2d.draw(np.random.default_rng(k))
                ).coefficients.transpose(2, 3, 0, 1)
            )
            for k in range(3)
        ]
    )
    coefficients = torch.from_numpy(numbers)
    network = ConditionedNet(3, torch.Generator().manual_seed(1), width=6)
    pictures = torch.stack(
        [starter_source.sketch_images(member, family_2d) for member in coefficients]
    )
    channels = [c.out_channels for c in network.context_inputs()]
    known = PsfConditioning.from_images(
        torch.zeros(1), pictures, 2, channels, torch.Generator().manual_seed(0)
    )
    network.condition(known, known.sketch(pictures[0]))
    config = TrainingConfig(
        simulation=starter_source.conditions(family_2d)[0], batch_size=5, patch_px=16
    )
    stream = starter_source.StarterStream(
        coefficients, family_2d, config, torch.Generator().manual_seed(2), network
    )
    drawn: list[list[int]] = []
    original = starter_source.FamilySimulator.training_batch

    def recorded(simulator: starter_source.FamilySimulator, *args: object, **named: object):  # type: ignore[no-untyped-def]
        batch = original(simulator, *args, **named)  # type: ignore[arg-type]
        drawn.append(list(simulator.chosen))
        return batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(starter_source.FamilySimulator, "training_batch", recorded)
        stream.next_batch()
    assert sorted(drawn[0]) == [0, 1, 2]
    for k in range(5):
        torch.testing.assert_close(network.sketches[k], known.sketch(pictures[drawn[0][k % 3]]))


def _started(folder: Path, psf: GaussianPsf) -> dict[str, NDArray[np.floating]]:
    """Return the weights with which a training for a PSF begins."""
    calibration = dataclasses.replace(CALIBRATION, psf=psf)
    write_calibration(calibration, folder / "cal.h5", overwrite=True)
    still = {"learning_rate": 1e-12, "weight_decay": 0.0, "steps": 1, "ema_decay": 0.0}
    spec = train_spec(
        folder, out=str(folder / "child.decode"), network="fast", network_options={"width": 3},
        init="starter", overwrite=True, **still,
    )  # fmt: skip
    train.run(spec, JobContext())
    return read_model(folder / "child.decode").weights


@pytest.fixture
def starter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelBundle:
    """Install a starter that knows PSFs, made for `CALIBRATION`."""
    write_inputs(tmp_path)
    spec = train_spec(
        tmp_path, out=str(tmp_path / "a.decode"), network="fast", network_options={"width": 3}
    )
    train.run(spec, JobContext())
    plain = read_model(tmp_path / "a.decode")
    made = dataclasses.replace(plain, conditioning=conditioning((3, 6, 8)).arrays())
    write_model(made, tmp_path / "astigmatic.decode", overwrite=False)
    path = tmp_path / "astigmatic.decode"
    monkeypatch.setattr(starters, "installed_starters", lambda: {"astigmatic": path})
    return made


def test_a_training_begins_with_a_starter_that_is_set_to_its_psf(
    starter: ModelBundle, tmp_path: Path
) -> None:
    own = _started(tmp_path, gaussian())
    for name, values in own.items():
        np.testing.assert_allclose(values, starter.weights[name], atol=1e-6)
    other = _started(tmp_path, gaussian(sigma0_x_nm=180.0))
    moved = {n for n, w in other.items() if np.abs(w - starter.weights[n]).max() > 1e-4}
    levels = ("join", "context_net.down", "context_net.deeper.down")
    assert moved == {f"{level}.{part}" for level in levels for part in ("weight", "bias")}


def test_a_psf_that_is_seen_from_the_other_side_is_the_same(
    starter: ModelBundle, tmp_path: Path
) -> None:
    """Focus of x and y exchanged is z reversed: the starter's own PSF, with z turned."""
    turned = _started(tmp_path, gaussian(focus_x_nm=-250.0, focus_y_nm=250.0))
    for name, values in turned.items():
        if not name.startswith("last."):
            np.testing.assert_allclose(values, starter.weights[name], atol=1e-5)
    rows = slice(12, 16)
    np.testing.assert_allclose(
        turned["last.weight"][rows], -starter.weights["last.weight"][rows], atol=1e-6
    )
