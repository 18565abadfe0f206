"""Errors that a user can correct, and the end by a signal. They are printed once, without a traceback."""


class UserError(Exception):
    """An error that the user can correct. The message names the clip, key or file and what to do.

    The programs print the message alone and exit with code 1. Any other exception is a defect of asl and
    keeps its traceback.
    """


class Terminated(KeyboardInterrupt):
    """SIGTERM was received. The program ends as after Ctrl-C, with another exit code."""
