"""Simulates the GPUs that $CUDA_VISIBLE_DEVICES shows, two by default, in each process that reads this plugin."""

import os
import time
from pathlib import Path

from vhbench.testing.fakes import FakeMethod
from vhbench.testing.simulated_gpu import simulated_gpus

VISIBLE = os.environ.get("CUDA_VISIBLE_DEVICES", "0,1")
_gpus = simulated_gpus(len(VISIBLE.split(",")))
_gpus.__enter__()


class OnTwoGpus(FakeMethod):
    """Notes which GPU it was given in the working folder, and waits until four runs have done so."""

    name = "on-two-gpus"

    def fit(self, train, ctx):
        begun = Path("begun")
        begun.mkdir(exist_ok=True)
        (begun / f"{self.bits}").write_text(f"{VISIBLE} as {ctx.device}")
        end = time.monotonic() + 60
        while len(list(begun.iterdir())) < 4:
            if time.monotonic() > end:
                raise TimeoutError(f"{len(list(begun.iterdir()))} of 4 runs have begun")
            time.sleep(0.02)
        return super().fit(train, ctx)
