"""The package's exceptions: each message says what was expected, what came and what to do."""


class NasGymError(Exception):
    """Base of every error that a user of nas-gym can cause; the command line turns it into exit code 2."""


class OutOfSpaceError(NasGymError, ValueError):
    """A decision or architecture lies outside its search space."""


class InvalidArchitectureError(NasGymError, ValueError):
    """Operations that do not form a network: a wrong shape, a dangling input, an unknown kind."""


class DatasetError(NasGymError, ValueError):
    """A data set is unknown, missing, damaged or of the wrong shape."""


class BudgetError(NasGymError, ValueError):
    """A budget that buys nothing: zero, negative or without any unit."""


class StoreError(NasGymError):
    """The database of results cannot be opened, read or written."""


class StoreUnavailableError(StoreError):
    """The database of results is locked, full or down: it is the place that is at fault, not what was to be stored."""


class RunError(NasGymError):
    """A run directory is missing, foreign, in use, unwritable or was made with other settings."""


class ConfigurationError(NasGymError, ValueError):
    """A setting is out of range, unknown, or does not fit another one."""


class ExportError(NasGymError):
    """A network can't be exported, or what was exported does not give the numbers that the network gives."""
