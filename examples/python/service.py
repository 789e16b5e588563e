"""An asyncio service that follows the engines, and says what is ready to whoever connects.

python service.py SOCKET [DIRECTORY]; then: nc -U SOCKET
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
import sys

import handoff_watcher


async def main(socket: str, directory: str | None = None) -> None:
    async with handoff_watcher.watch(directory) as watcher:

        async def heartbeat(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            pools = [dataclasses.asdict(pool) for pool in watcher.registry.pools()]
            writer.write(json.dumps(pools).encode())
            await writer.drain()
            writer.close()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, watcher.stop)  # which ends the loop below
        async with await asyncio.start_unix_server(heartbeat, socket):
            async for event in watcher:
                told = event.to_dict()
                engine = told.get("payload", {})
                print(event.event, told.get("pool_id", "-"), engine.get("url", "-"), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
