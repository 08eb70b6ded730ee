"""Owns the entry point of the `tokn` command."""

import os
import sys

SERVICES = ("edge", "worker", "ledger", "console")
_STANDARD_ERROR = 2


def main() -> int:
    """Runs the command in `sys.argv` and answers with its exit code."""
    _open_standard_files()
    words = sys.argv[1:]
    # Children of `tokn up` take this short way: they never load the command's own libraries.
    if len(words) > 1 and words[0] in SERVICES and words[1] == "--handed-settings":
        from tokn.services import run_handed  # noqa: PLC0415  only a child of tokn up takes this way

        return run_handed(words[0], words[2:])
    from tokn.cli import run  # noqa: PLC0415  children never load the command's libraries

    return run(words)


def _open_standard_files() -> None:
    """Has nothing else take the place of a standard file that is closed: its lines would go there, a child's too."""
    while True:
        fd = os.open(os.devnull, os.O_RDWR)
        if fd > _STANDARD_ERROR:
            os.close(fd)
            return
        os.set_inheritable(fd, True)


if __name__ == "__main__":
    sys.exit(main())
