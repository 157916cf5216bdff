"""One worker of a cluster: meets the others, sums with them, and then does as it is told.

python tests/distributed/worker.py BEHAVIOUR [NUMBER], see ``main``.
"""

import os
import signal
import time
from dataclasses import dataclass

import tensorflow as tf
import tyro

from tfcamp.cli import run_project
from tfcamp.training.cluster import find_cluster
from tfcamp.training.strategy import (
    choose_strategy,
    is_chief,
    lost_workers_named,
    shared_time,
    wait_for_workers,
)


@dataclass(frozen=True)
class Config:
    """What the workers do after the first sum."""

    behaviour: tyro.conf.Positional[str] = "end"
    number: tyro.conf.Positional[int] = -1
    """The worker that behaves so; the others go on."""
    linger_seconds: float = 15.0
    """Longer than TensorFlow's heartbeats, which tell after 10 s who is gone."""


def main(config: Config) -> None:
    """Be a worker."""
    cluster = find_cluster()
    assert cluster is not None
    behaviour = config.behaviour if cluster.rank == config.number else "go on"
    strategy = choose_strategy("multi_worker")
    assert choose_strategy("multi_worker") is strategy
    print(f"chief {is_chief(strategy)}")
    print(f"time {shared_time(strategy)}")

    with strategy.scope():
        weight = tf.Variable(tf.zeros([]), trainable=False)

    @tf.function
    def step():
        def on_replica():
            rank = tf.constant(float(cluster.rank + 1))
            weight.assign(tf.distribute.get_replica_context().all_reduce("SUM", rank))

        strategy.run(on_replica)

    def take_step() -> None:
        with lost_workers_named():
            step()

    take_step()
    print(f"sum {weight.numpy():g}", flush=True)
    if behaviour == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "stop":
        raise SystemExit(5)
    if behaviour == "heed_sigterm":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
        raise SystemExit("SIGTERM was ignored")
    if behaviour == "linger":
        time.sleep(config.linger_seconds)
    if config.behaviour in ("die", "stop", "heed_sigterm"):
        while True:  # until the loss of the other is noticed
            take_step()
            time.sleep(0.1)
    if config.behaviour != "leave":
        wait_for_workers(strategy)
    elif behaviour != "leave":
        time.sleep(2 * config.linger_seconds)  # on a busy machine the last heartbeats are late
    print("end", flush=True)


if __name__ == "__main__":
    run_project(main, Config)
