"""What a user did or has that cannot work: said once, without a traceback, with the way out."""


class UserError(Exception):
    """Something that the user can mend. The message names the clip, key or file and the way out.

    The programs print the message alone and exit with 1; any other exception is a defect of
    asl and keeps its traceback.
    """
