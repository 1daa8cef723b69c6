"""An identity-aware Kafka proxy."""

__version__ = "0.1.0"
