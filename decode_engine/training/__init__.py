"""Training on endless simulated data."""
