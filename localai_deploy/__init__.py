"""From a host that is there to a proven local AI."""

__version__ = "0.1.0"
