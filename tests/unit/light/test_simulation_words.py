"""What is said of a simulation's molecules."""

from __future__ import annotations

from app.models.simulation_words import molecule_words, photon_words
from decode_engine.contract.configs import SimulationConfig


def test_one_brightness_and_many() -> None:
    one = SimulationConfig(density_min_per_um2=0.3, density_max_per_um2=2.5, flux_mean=3500)
    assert molecule_words(one) == "0.3–2.5 molecules/µm² with about 3,500 photons each"
    many = one.model_copy(update={"flux_spread": 5.0})
    assert photon_words(many) == "about 700 to 17,500 photons"
