"""Clients that leave: how much is still made for them.

    OMP_NUM_THREADS=2 python benchmarks/server_leave_bench.py [--times 200]

`likely serve smollm2`. Half of the clients ask for a stream of 512 tokens, read three events, and close; the others ask
without a stream and close after a quarter of a second. `/metrics` says how many tokens were made and
when nothing is at work any more.

  more      tokens made after those that were read (streams), or made at the close (plain), 90 % and at most
  seconds   from the close until nothing is at work, median and at most

Claim: of 200 clients that leave, work stops within a token that was under way, and nothing is left working. (Between
the last look and the close of a plain request a token or more is made, too.)
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from json import dumps

import results

PORT = 18_765
TOKEN = "leave-bench-token"


def measure(name: str, label: str = "") -> float:
    """A number of /metrics, summed over models."""
    ask = urllib.request.Request(f"http://127.0.0.1:{PORT}/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    text = urllib.request.urlopen(ask, timeout=60).read().decode()
    lines = [line for line in text.splitlines() if re.match(rf"likely_{name}[{{ ]", line) and label in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def leave(stream: bool) -> tuple[float, float]:
    """One client: tokens made beyond what it read, and seconds until all is quiet."""
    made = measure("tokens_total", 'kind="made"')
    body = dumps({"model": "smollm2", "prompt": "Once", "max_tokens": 512, "stream": stream}).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", PORT), timeout=60) as wire:
        wire.sendall(head.encode() + body)
        if stream:
            seen = b""
            while seen.count(b"data: ") < 3:
                part = wire.recv(4096)
                if not part:
                    break
                seen += part
            read = seen.count(b"data: ")
        else:
            time.sleep(0.25)
            read = int(measure("tokens_total", 'kind="made"') - made)
    began = time.perf_counter()
    while measure("active") > 0:
        time.sleep(0.005)
    return measure("tokens_total", 'kind="made"') - made - read, time.perf_counter() - began


def main() -> None:
    """Serve, leave so many times, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200)
    times = parser.parse_args().times
    command = [sys.executable, "-m", "likely", "serve", "smollm2", "--port", str(PORT)]
    server = subprocess.Popen(command, env=os.environ | {"LIKELY_TOKEN": TOKEN}, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                if measure("ready"):
                    break
                time.sleep(0.2)
            except OSError:
                time.sleep(0.2)
        leave(True)
        rows = []
        for stream in (True, False):
            seen = [leave(stream) for _ in range(times // 2)]
            more, seconds = [one[0] for one in seen], [one[1] for one in seen]
            rows.append({
                "clients": "stream" if stream else "plain", "times": len(seen),
                "more, 90 %": sorted(more)[int(0.9 * len(more))], "more, most": max(more),
                "s, median": statistics.median(seconds), "s, most": max(seconds), "left working": measure("active"),
            })  # fmt: skip
            print(rows[-1], flush=True)
        print(results.table(rows, list(rows[0])))
        results.save("server_leave", rows)
    finally:
        server.terminate()
        server.wait(timeout=60)


if __name__ == "__main__":
    main()
