"""The errors a caller can act on. Each message says what was found, what was expected and what to do."""


class MoebiusError(Exception):
    """Base of every error that is the input's or the environment's fault; the command line exits with 2."""


class InvalidInput(MoebiusError):
    """A photo, a mask or an option cannot be used."""


class BundleError(MoebiusError):
    """A bundle is missing, damaged, unsafe or from another schema version."""


class CheckpointError(MoebiusError):
    """A checkpoint cannot be fetched or is not the model that was asked for."""


class ExportError(MoebiusError):
    """An export cannot be done; nothing was written."""


class RuntimeUnavailable(MoebiusError):
    """The engine that a bundle needs is not installed or cannot load it."""


class NotFinite(MoebiusError):
    """A graph gave NaN or Inf."""


class Cancelled(MoebiusError):
    """The progress callback asked to stop."""


class CalibrationError(MoebiusError):
    """Calibration data, or recorded ranges, cannot be used; nothing was written."""
