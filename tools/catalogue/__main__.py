"""Owns `make catalogue` and `make catalogue-update`: the file of rows, remade from its inputs, and the report."""

import argparse
import sys
from collections.abc import Collection
from datetime import date
from pathlib import Path
from typing import Final

import msgspec

from runtime.catalogue.age import FILE as AS_OF
from schemas.catalogue.row import Row
from tools.catalogue.age import stale
from tools.catalogue.build import Built, build, encode
from tools.catalogue.inputs import InputError, read_lock
from tools.catalogue.pins import Pins, read_accepted, read_pins, write_accepted
from tools.catalogue.report import report
from tools.catalogue.update import update

MODELS: Final = Path(__file__).parents[2] / "runtime" / "catalogue" / "models.json"


def problems(built: Built, before: bytes, accepted: Collection[str], pins: Pins) -> list[str]:
    """Why the rows may not take the place of a file that is there: ids that vanish, and what nobody has accepted."""
    ids = {f"{row.preset}/{row.id}" for row in built.rows}
    decode = msgspec.json.Decoder(Row).decode
    old = {f"{row.preset}/{row.id}" for row in map(decode, before.splitlines())}
    gone = sorted(model for model in old - ids if not pins.drops_model(model))
    return [
        *(f"{model} is gone: name it under [[drop]], or keep it under [add]" for model in gone),
        *(f"not accepted: {line}" for line in built.disagreements if line not in accepted),
        *(f"accepted, but no longer so: {line}" for line in sorted(set(accepted) - set(built.disagreements))),
    ]


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
        built = build(lock, pins)
        accepted = read_accepted()
        if options.accept:
            kept = {line: why for line, why in accepted.items() if line in built.disagreements}
            accepted = kept | {line: options.accept for line in built.disagreements if line not in kept}
            write_accepted(accepted)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.writelines(f"{line}\n" for line in report(built, lock, accepted))
    found = problems(built, MODELS.read_bytes() if MODELS.exists() else b"", accepted, pins)
    if found:
        sys.stderr.writelines(f"{line}\n" for line in found)
        return 1
    MODELS.write_bytes(encode(built.rows))
    AS_OF.write_text(f"{lock.as_of}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
