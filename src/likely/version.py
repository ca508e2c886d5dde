"""The version of the library, in one place that imports nothing."""

VERSION = "0.1.0"
