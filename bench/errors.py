"""Errors that a user can mend."""

import errno

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
"""What a disk says that cannot be written to."""

NO_PLACE = (errno.EEXIST, errno.ENOENT, errno.ENOTDIR)
"""What is said of a folder's name that cannot be a folder."""


class UserError(ValueError):
    """Wrong input, told in one line: which key, file or variant, and what would be accepted."""


def told(error: OSError) -> str:
    """What a disk says, and of which path; the path last."""
    why = "not a folder" if error.errno == errno.EEXIST else error.strerror
    return f"{why} at {error.filename}" if error.filename else str(why)
