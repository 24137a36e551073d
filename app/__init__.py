"""Decode Desktop's window. It never imports torch: work goes to an engine process."""
