"""Fifty clients at once: what `likely serve` gives them, beside the server of transformers.

    python benchmarks/server_bench.py [--clients 50 --tokens 32 --threads 2]

The model is SmolLM2-135M-Instruct as `likely serve smollm2` finds it; the peer reads the same weights, in bfloat16,
from a folder that `likely.language.huggingface` writes. Both servers are processes of their own with the same number of
threads. Every client asks once, all at the same moment: a conversation of 40 to 90 tokens, an answer of at most so many
tokens at temperature 1, not streamed. Measured by the clients: requests lost (no answer, or no 200), latency p50 and
p99, tokens a second of wall time. Measured of the server: tokens a second of processor time, all of its threads; that
ratio holds on a machine that does other things as well.

  likely                            continuous batching, up to `clients` rows
  transformers serve                its default: one generate at a time
  transformers serve, continuous    --continuous-batching

The peer needs transformers[serving]. Claims: none lost; at least 3 times the peer's tokens.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch

import results
from likely.language import huggingface
from likely.language.checkpoint import load

TOPICS = ("the sea", "trains", "a lost key", "winter", "bread", "an old map", "clouds", "the night", "a bridge", "tea")
PATIENCE = 3600.0  # seconds until a client gives up
BESIDE = str(Path(sys.executable).with_name("transformers"))
TICK = os.sysconf("SC_CLK_TCK")


def question(client: int) -> str:
    """What a client asks; of different lengths."""
    topic = TOPICS[client % len(TOPICS)]
    more = " Mention where it happened, who was there, and what they said to each other." * (client % 3)
    return f"Write a short story about {topic}, number {client}.{more}"


def free() -> int:
    """A port that nobody listens at."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        port: int = made.getsockname()[1]
        return port


def spent(process: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


@contextmanager
def serving(command: list[str], port: int, alive: str, threads: int, token: str) -> Iterator[int]:
    """A server, once it answers; its process."""
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads), "LIKELY_TOKEN": token, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
    }  # fmt: skip
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + PATIENCE
        while True:
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{' '.join(command)} did not start")
            try:
                if httpx.get(f"http://127.0.0.1:{port}{alive}", timeout=5).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            time.sleep(0.5)
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


async def crowd(port: int, model: str, token: str, clients: int, tokens: int) -> list[tuple[float, int]]:
    """(seconds, tokens) of each client's answer; tokens -1 = lost."""
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=0)
    headers = {"Authorization": f"Bearer {token}"}

    async with httpx.AsyncClient(timeout=PATIENCE, limits=limits, headers=headers) as http:

        async def one(client: int) -> tuple[float, int]:
            body = {
                "model": model, "messages": [{"role": "user", "content": question(client)}], "max_tokens": tokens,
                "temperature": 1.0, "seed": client, "stream": False,
            }  # fmt: skip
            began = time.monotonic()
            try:
                answer = await http.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body)
                made = answer.json()["usage"]["completion_tokens"] if answer.status_code == 200 else -1
            except (httpx.HTTPError, ValueError, KeyError):
                made = -1
            return time.monotonic() - began, made

        return list(await asyncio.gather(*(one(client) for client in range(clients))))


def measure(
    name: str, command: list[str], port: int, alive: str, model: str, asked: argparse.Namespace
) -> dict[str, Any]:
    """One server, from start to end."""
    token = secrets.token_hex(16)
    with serving(command, port, alive, asked.threads, token) as process:
        asyncio.run(crowd(port, model, token, 2, 4))  # warms up
        before, began = spent(process), time.monotonic()
        found = asyncio.run(crowd(port, model, token, asked.clients, asked.tokens))
        wall, cpu = time.monotonic() - began, spent(process) - before
    good = [(seconds, made) for seconds, made in found if made >= 0]
    total = sum(made for _, made in good)
    times = [seconds for seconds, _ in good] or [float("nan")]
    return {
        "server": name, "clients": len(found), "lost": len(found) - len(good), "p50 s": statistics.median(times),
        "p99 s": float(np.percentile(times, 99)), "tokens": total, "tokens / s": total / wall,
        "tokens / CPU s": total / cpu,
    }  # fmt: skip


def main() -> None:
    """Run, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer", default=BESIDE, help="its command")
    parser.add_argument(
        "--quick", action="store_true", help="without the peer's one-at-a-time server, which takes long"
    )
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        model = str(Path(folder) / "smollm2")
        huggingface.save(load("smollm2", dtype=torch.bfloat16), model)
        port = free()
        ours = [sys.executable, "-m", "likely", "serve", "smollm2", "--port", str(port), "-q"]
        ours += ["--rows", str(asked.clients)]
        rows.append(measure("likely", ours, port, "/readyz", "smollm2", asked))
        for name, more in (("transformers serve", []), ("transformers serve, continuous", ["--continuous-batching"])):
            if asked.quick and not more:
                continue
            port = free()
            theirs = [asked.peer, "serve", model, "--device", "cpu", "--dtype", "bfloat16", "--port", str(port), *more]
            try:
                rows.append(measure(name, theirs, port, "/health", model, asked))
            except SystemExit as error:
                print(error, file=sys.stderr)
    for row in rows:
        row["times"] = row["tokens / CPU s"] / max(other["tokens / CPU s"] for other in rows[1:]) if rows[1:] else None
        row["times, wall"] = row["tokens / s"] / max(other["tokens / s"] for other in rows[1:]) if rows[1:] else None
    columns = ["server", "clients", "lost", "p50 s", "p99 s", "tokens", "tokens / s", "tokens / CPU s", "times"]
    columns.append("times, wall")
    print(results.table(rows, columns))
    results.save("server", rows, threads=asked.threads, model="SmolLM2-135M-Instruct")


if __name__ == "__main__":
    main()
