"""The errors of the local environment.

::

    LocalError
    +-- InvalidInput         a path, a version or an option that cannot work
    +-- AlreadyRunning       another environment uses this state folder
    +-- StartFailed          a server or a component did not come up
    +-- InstallFailed        the user's requirements could not be installed
    +-- OutOfSpace           the disk is full
"""

from __future__ import annotations


class LocalError(Exception):
    """The root of everything the local environment raises on purpose."""


class InvalidInput(LocalError, ValueError):
    """A path, a version or an option that cannot work."""


class AlreadyRunning(LocalError):
    """Another environment uses this state folder."""


class StartFailed(LocalError):
    """A server or a component that did not come up, with the last lines of its log."""


class InstallFailed(LocalError):
    """Requirements that could not be installed."""


class OutOfSpace(LocalError):
    """A disk without room."""
