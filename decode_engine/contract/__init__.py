"""What crosses a boundary: versioned configurations, job specifications, messages."""
