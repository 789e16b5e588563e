"""What a user of Python would pick instead: ``peers.py ROLE WHO DIR INTERVAL_MS COUNT`` prints a line of JSON."""

import json
import os
import sys
import threading
import time
from pathlib import Path

ROLE, WHO, DIR, INTERVAL, COUNT = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]) / 1000, int(sys.argv[5])


def parse(path):
    try:
        return json.loads(Path(path).read_bytes())
    except (OSError, ValueError):
        return None


def watch(told):
    """Start to watch in the background; ``told`` is called with each payload."""

    def tell(path):
        if str(path).endswith(".json") and (payload := parse(path)) is not None:
            told(payload)

    if WHO == "watchdog":
        from watchdog.events import FileSystemEventHandler
        from watchdog.observers.polling import PollingObserver

        class Handler(FileSystemEventHandler):
            def on_any_event(self, event):
                tell(getattr(event, "dest_path", "") or event.src_path)

        observer = PollingObserver(timeout=INTERVAL)
        observer.schedule(Handler(), str(DIR))
        observer.start()
        return
    import watchfiles

    def run():
        for changes in watchfiles.watch(DIR, recursive=False):
            for _, path in changes:
                tell(path)

    threading.Thread(target=run, daemon=True).start()


def take():
    """What it costs to take an event that waits already, of this library's own package."""
    import handoff_watcher

    with handoff_watcher.watch(DIR, poll_interval=INTERVAL, channel_capacity=65_536) as watcher:
        watcher.rescan()
        began = time.perf_counter()
        for _ in range(COUNT):
            event = watcher.next(timeout=0)
            assert event.payload.url
        print(json.dumps({"us": (time.perf_counter() - began) * 1e6 / COUNT}), flush=True)


def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))


def main():
    if ROLE == "take":
        take()
        return
    files = {}
    before, memory = time.process_time(), resident()
    told = []
    watch(lambda payload: told.append((time.monotonic(), payload)))
    if ROLE in ("initial", "memory"):
        for path in DIR.iterdir():
            if path.suffix == ".json":
                files[path] = parse(path)
        # What watches needs as long as it takes to know what is there.
        time.sleep(0.5)
        if ROLE == "initial":
            print(json.dumps({"cpu_us": (time.process_time() - before) * 1e6}), flush=True)
        else:
            print(json.dumps({"bytes": (resident() - memory) / COUNT}), flush=True)
    elif ROLE == "idle":
        time.sleep(3 * INTERVAL + 1)
        before, began = time.process_time(), time.monotonic()
        time.sleep(COUNT * INTERVAL)
        polls = (time.monotonic() - began) / INTERVAL
        # A poll that takes longer than the interval makes fewer of them; that favours the peer.
        print(json.dumps({"cpu_us": (time.process_time() - before) * 1e6 / polls}), flush=True)
    else:
        time.sleep(1 + 2 * INTERVAL)
        latencies = []
        for number in range(COUNT):
            time.sleep((number * 0.618034) % 1 * INTERVAL + 0.002)
            url = f"http://127.0.0.1:{10000 + number}"
            temporary = DIR / ".r0.tmp"
            temporary.write_text(json.dumps({"pool_id": "measured", "replica_id": f"r{number}", "url": url}))
            temporary.rename(DIR / f"measured-r{number}.json")
            renamed, deadline = time.monotonic(), time.monotonic() + 30
            while not (hits := [at for at, payload in told if payload["url"] == url]):
                if time.monotonic() > deadline:
                    raise SystemExit("it was not told")
                time.sleep(0.0002)
            latencies.append((hits[0] - renamed) * 1e6)
        print(json.dumps({"latencies_us": latencies}), flush=True)
    os._exit(0)


main()
