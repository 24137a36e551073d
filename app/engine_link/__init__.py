"""The engine process seen from the window."""
