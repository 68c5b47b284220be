"""The three ways a command ends early, and the exit status each one has."""


class InputError(ValueError):
    """A mistake of the user's: one line saying what is wrong, where, and what to do. Exit status 2."""


class RunFailed(RuntimeError):
    """A run that could not be finished, with its reason already on record. Exit status 1."""


class Interrupted(BaseException):
    """A signal asked the run to stop; its checkpoint is written. Exit status 128 + signal number.

    Like KeyboardInterrupt no Exception, so that nothing on the way takes it for a failure to carry on after.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by signal {signum}")
        self.signum = signum
