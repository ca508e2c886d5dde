"""A run that is killed and started again, many times over, by a process that has torch loaded already.

    python -m tests.train.victim FOLDER KILLS

Forks children that all make the same call of `fit` with the same checkpoint folder; each but the last is killed
(SIGKILL, the first one SIGTERM) after a delay drawn from a seed. Prints one line a child: how it ended,
and what it left on disk.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from likely.core import Budget
from likely.train.loop import fit
from tests.train.families import Noisy, fresh, normal

TRAINING = replace(Noisy.regimen, evaluations=60)
BUDGET = Budget(steps=120)


def main(folder: Path, kills: int) -> None:
    random.seed(0)
    for number in range(kills + 1):
        child = os.fork()
        if child == 0:
            fit(fresh(Noisy), normal(300), BUDGET, training=TRAINING, checkpoint=folder)
            os._exit(0)
        if number < kills:
            began = time.monotonic()
            while not any(folder.glob("step-*")) and time.monotonic() - began < 20:
                time.sleep(0.01)  # a machine under load may take long to start
            time.sleep(random.uniform(0, 0.15))
            os.kill(child, signal.SIGKILL if number else signal.SIGTERM)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), sorted(path.name for path in folder.iterdir()), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
