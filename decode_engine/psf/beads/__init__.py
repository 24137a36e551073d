"""From recorded bead z-stacks to a spline calibration: find, register, average, judge."""
