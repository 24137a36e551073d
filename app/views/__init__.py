"""What is seen: setters and request signals only."""
