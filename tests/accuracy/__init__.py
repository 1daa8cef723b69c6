"""What the detectors find and what they take for something else, measured: ``python -m tests.accuracy``."""
