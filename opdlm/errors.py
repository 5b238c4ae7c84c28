"""Errors that a person can act on: what is wrong, where, and what to do."""


class OpdlmError(Exception):
    """Base of every error this package raises on purpose; entry points print it without a traceback."""


class SettingsError(OpdlmError):
    """A setting is unknown, of the wrong type, or points to something that does not exist."""


class DataError(OpdlmError):
    """A data, sample or score file is missing, empty, truncated or malformed."""


class CheckpointError(OpdlmError):
    """A model directory or training checkpoint is incomplete or disagrees with its configuration."""


class TrainingError(OpdlmError):
    """Training cannot go on (for example, the loss is not finite)."""


class SandboxError(OpdlmError):
    """No safe way to run model-written code is available on this machine."""
