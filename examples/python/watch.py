"""Prints what happens to the engines, until Ctrl-C: python watch.py [DIRECTORY]."""

from __future__ import annotations

import contextlib
import sys

import handoff_watcher
from handoff_watcher import Conflict, Ready, Removed, Updated


def main(directory: str | None = None) -> None:
    with handoff_watcher.watch(directory) as watcher:  # None: .runtime/engines
        for event in watcher:
            match event:
                case Ready(payload=engine) | Updated(payload=engine) | Removed(payload=engine):
                    what = f"{engine.pool_id} {engine.url}"
                case Conflict(pool_id=pool):
                    what = f"{pool} -"
                case _:
                    what = "- -"
            print(event.event, what, flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
