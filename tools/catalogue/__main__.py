"""Owns `make catalogue` and `make catalogue-update`: the file of rows, remade from its inputs, and the report."""

import argparse
import sys
from collections.abc import Collection
from datetime import date
from pathlib import Path
from typing import Final

from runtime.catalogue.age import FILE as AS_OF
from tools.catalogue.age import stale
from tools.catalogue.build import Built, build, encode
from tools.catalogue.gone import GONE, kept, read_gone, read_rows
from tools.catalogue.inputs import InputError, Lock, read_lock
from tools.catalogue.pins import Pins, read_accepted, read_pins, write_accepted
from tools.catalogue.report import report
from tools.catalogue.update import update

MODELS: Final = Path(__file__).parents[2] / "runtime" / "catalogue" / "models.json"


def problems(built: Built, before: bytes, accepted: Collection[str], pins: Pins) -> list[str]:
    """Why the rows may not take the place of a file that is there: ids that vanish, and what nobody has accepted."""
    ids = {f"{row.preset}/{row.id}" for row in built.rows}
    old = {f"{row.preset}/{row.id}" for row in read_rows(before, MODELS.name)}
    gone = sorted(model for model in old - ids if not pins.drops_model(model))
    return [
        *(
            f"{model} is gone: name it under [[drop]], or keep its last row with make catalogue ARGS=--keep"
            for model in gone
        ),
        *(f"not accepted: {line}" for line in built.disagreements if line not in accepted),
        *(f"accepted, but no longer so: {line}" for line in sorted(set(accepted) - set(built.disagreements))),
    ]


def _keeping(built: Built, before: bytes, lock: Lock, pins: Pins) -> Built:
    """The same with the last row of each id that vanished, unless it is dropped by name; writes those rows."""
    sold = [row for row in read_rows(before, MODELS.name) if not pins.drops_model(f"{row.preset}/{row.id}")]
    gone = kept(read_gone(), sold, built.sourced)
    GONE.write_bytes(encode(gone))
    return build(lock, pins, gone)


def main() -> int:
    """Writes the file, unless something has to be looked at first. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="catalogue", description=__doc__)
    parser.add_argument(
        "--update", metavar="DAY", type=date.fromisoformat, help="fetch the sources, as of a day"
    )
    parser.add_argument(
        "--accept", metavar="WHY", help="accept what is new, for this reason, and forget what is over"
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep the last rows of what no source has any more"
    )
    parser.add_argument(
        "--age", metavar="TODAY", type=date.fromisoformat, help="only say what is too old to be released"
    )
    options = parser.parse_args()
    if options.age:
        found = list(stale(read_lock(), read_pins(), options.age))
        sys.stderr.writelines(f"{line}\n" for line in found)
        return bool(found)
    try:
        lock = update(options.update) if options.update else read_lock()
        pins = read_pins()
        before = MODELS.read_bytes() if MODELS.exists() else b""
        built = build(lock, pins, read_gone())
        if options.update or options.keep:
            built = _keeping(built, before, lock, pins)
        accepted = read_accepted()
        if options.accept:
            still = {line: why for line, why in accepted.items() if line in built.disagreements}
            accepted = still | {line: options.accept for line in built.disagreements if line not in still}
            write_accepted(accepted)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.writelines(f"{line}\n" for line in report(built, lock, accepted))
    found = problems(built, before, accepted, pins)
    if found:
        sys.stderr.writelines(f"{line}\n" for line in found)
        return 1
    MODELS.write_bytes(encode(built.rows))
    AS_OF.write_text(f"{lock.as_of}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
