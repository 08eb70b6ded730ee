"""Owns a memory of Mem0 that learns and remembers: reads steps, prints what it found again."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from mem0 import Memory

SAID = [{"role": "user", "content": "I live in Oslo and I keep bees."}]


def step(code: str) -> dict[str, Any]:
    """Only where it keeps its files differs from what a user writes."""
    defined: dict[str, Any] = {"config": {}}
    exec(code, defined)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        own = Path(folder).resolve()
        files = {"vector_store": {"provider": "qdrant", "config": {"path": str(own / "vectors")}}}
        files["history_db_path"] = str(own / "history.db")
        memory = Memory.from_config(defined["config"] | files)
        added = [row["memory"] for row in memory.add(SAID, user_id="ada")["results"]]
        found = memory.search("Keeps bees", filters={"user_id": "ada"})["results"]
        memory.close()
    return {"added": added, "found": sorted(row["memory"] for row in found)}


sys.stdout.write(json.dumps([step(**asked) for asked in json.load(sys.stdin)]) + "\n")
