"""Where the computation runs: one device, several GPUs, several machines, or a TPU.

A strategy tells TensorFlow which replicas of the model there are; each takes its part of a batch,
and their gradients are summed. A process chooses once: collective operations are numbered in the
order in which a process makes them, so a second strategy gets in the way of the first.
"""

import contextlib
import ctypes
import dataclasses
import faulthandler
import glob
import importlib.util
import os
import signal
import time
from pathlib import Path

import tensorflow as tf

from tfcamp.errors import UserError
from tfcamp.training.cluster import Cluster, find_cluster, meet, naming_lost_workers

_NAMES = ("auto", "one", "mirrored", "multi_worker", "tpu")


@dataclasses.dataclass
class _Choice:
    """The strategy of this process, what it was made of, and the processes it connects."""

    asked: tuple[str, int | None] | None = None
    strategy: tf.distribute.Strategy | None = None
    cluster: Cluster | None = None


_choice = _Choice()


def choose_strategy(
    name: str = "auto", *, virtual_devices: int | None = None
) -> tf.distribute.Strategy:
    """Returns the strategy under whose scope a model is built and trained.

    To be called before anything is computed: virtual devices and the connection to other machines
    must be there before TensorFlow sets up its devices.

    Args:
      name: ``one`` for the default device; ``mirrored`` for all GPUs of this machine;
        ``multi_worker`` for the processes that TF_CONFIG or Slurm names; ``tpu``; or ``auto`` for
        the best of these that is there.
      virtual_devices: splits the CPU into so many replicas, which rehearses ``mirrored`` on a
        machine without GPUs.

    Returns:
      The strategy; the same object when it is asked for again.

    Raises:
      UserError: an unknown name, or something that this machine does not offer.
      ValueError: this process already has another strategy.
    """
    if name not in _NAMES:
        raise UserError(f"--strategy {name}: expected one of {', '.join(_NAMES)}")
    if virtual_devices is not None and name not in ("auto", "mirrored"):
        raise UserError(f"--virtual-devices {virtual_devices}: goes with --strategy mirrored only")
    _load_cusolver()
    if name == "auto":
        name = _best_strategy(virtual_devices)
    if name == "one":
        return tf.distribute.get_strategy()  # not made here, so in nobody's way
    asked = (name, virtual_devices)
    if _choice.strategy is None:
        if name == "mirrored":
            strategy = _mirrored(virtual_devices)
        else:
            strategy = _multi_worker() if name == "multi_worker" else _tpu()
        _choice.asked, _choice.strategy = asked, strategy
    elif _choice.asked != asked:
        raise ValueError(f"asked for strategy {asked}, but this process has {_choice.asked}")
    return _choice.strategy


def _load_cusolver() -> None:
    """Loads cuSOLVER as pip installs it: TensorFlow 2.21 does not look for it there.

    Without it no GPU is used. (The folder is missing in the RUNPATH of 2.21's library; 2.20 has
    it.) What is loaded already is found by its name.
    """
    nvidia = importlib.util.find_spec("nvidia")
    for folder in (nvidia.submodule_search_locations or ()) if nvidia else ():
        for library in Path(folder).glob("cusolver/lib/libcusolver.so.*"):
            with contextlib.suppress(OSError):  # what else is missing the doctor finds out
                ctypes.CDLL(str(library))


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Tells whether this process is the one that writes: the only one, the chief, or worker 0."""
    resolver = strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or resolver is None:
        return True
    # Where there is a chief, worker 0 is an ordinary worker.
    first = "chief" if "chief" in resolver.cluster_spec().jobs else "worker"
    return (resolver.task_type or first, resolver.task_id or 0) == (first, 0)


def shared_time(strategy: tf.distribute.Strategy) -> str | None:
    """Returns the chief's date and time, ``20260101-120000``, to all workers.

    Their own clocks would name a folder each. None where there is only one process.
    """
    if _choice.cluster is None or strategy is not _choice.strategy:
        return None
    own = int(time.strftime("%Y%m%d%H%M%S")) if is_chief(strategy) else 0
    with lost_workers_named():
        shared = _sum_over_workers(strategy, own)
    return f"{shared // 10**6}-{shared % 10**6:06d}"


def lost_workers_named():
    """Returns a context in which the loss of another worker is an error of one line.

    Raises:
      UserError: another worker was lost; other errors pass unchanged.
    """
    return naming_lost_workers(_choice.cluster)


def wait_for_workers(strategy: tf.distribute.Strategy) -> None:
    """Returns when every worker has come here: the last thing a program does.

    A worker that leaves while the chief still exports is taken for a dead one: TensorFlow reports
    a crash that was none, and schedulers may end the rest of the job.

    Raises:
      UserError: another worker was lost meanwhile.
    """
    with lost_workers_named():
        _sum_over_workers(strategy, 1)


def check_agreement(strategy: tf.distribute.Strategy, number: int, problem: str) -> None:
    """Makes sure that all workers have come to the same number.

    Raises:
      UserError: they have not; the message is ``problem``, on each of them.
    """
    with lost_workers_named():
        total = _sum_over_workers(strategy, number)
    workers = 1 if _choice.cluster is None else len(_choice.cluster)
    if total != workers * number:
        raise UserError(problem)


def _sum_over_workers(strategy: tf.distribute.Strategy, number: int) -> int:
    if _choice.cluster is None or strategy is not _choice.strategy:
        return number

    def sum_over_replicas() -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        return context.all_reduce("SUM", tf.constant(number, tf.int64))

    # Compiled: TensorFlow warns of collective operations outside a function.
    total = tf.function(lambda: strategy.run(sum_over_replicas))()
    replicas = strategy.num_replicas_in_sync // len(_choice.cluster)
    return int(strategy.experimental_local_results(total)[0].numpy()) // replicas


def _best_strategy(virtual_devices: int | None) -> str:
    if virtual_devices is not None:
        return "mirrored"
    cluster = find_cluster()
    if cluster is not None and len(cluster) > 1:
        return "multi_worker"
    if _has_tpu():
        return "tpu"
    return "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "one"


def _has_tpu() -> bool:
    """Looks for a TPU without asking the network."""
    if os.environ.get("TPU_NAME") or os.environ.get("TPU_ACCELERATOR_TYPE"):
        return True
    # Up to v4, /dev/accel0 (a folder /dev/accel is an NPU's); later /dev/vfio/0, which may be any
    # device that was handed to a virtual machine.
    if glob.glob("/dev/accel[0-9]*"):
        return True
    return bool(glob.glob("/dev/vfio/[0-9]*")) and importlib.util.find_spec("libtpu") is not None


def _mirrored(virtual_devices: int | None) -> tf.distribute.Strategy:
    if virtual_devices is None:
        # Not by collectives, which fix the shapes they exchange for the duration of a call.
        gpus = len(tf.config.list_physical_devices("GPU"))
        reduce = tf.distribute.NcclAllReduce if gpus > 1 else tf.distribute.ReductionToOneDevice
        return tf.distribute.MirroredStrategy(cross_device_ops=reduce())
    if virtual_devices < 1:
        raise UserError(f"--virtual-devices {virtual_devices}: expected at least 1")
    cpu = tf.config.list_physical_devices("CPU")[0]
    devices = tf.config.get_logical_device_configuration(cpu)
    if len(devices or ()) != virtual_devices:
        try:
            tf.config.set_visible_devices([], "GPU")  # a rehearsal leaves them alone
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration()] * virtual_devices
            )
        except RuntimeError as error:
            raise UserError(
                f"--virtual-devices {virtual_devices}: too late, TensorFlow has set up its "
                "devices; choose the strategy first (in a notebook: restart the runtime)"
            ) from error
    # They share one memory, and collectives would want gradients of one shape.
    return tf.distribute.MirroredStrategy(
        [f"CPU:{i}" for i in range(virtual_devices)],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )


def _multi_worker() -> tf.distribute.Strategy:
    cluster = find_cluster()
    if cluster is None:
        raise UserError(
            "--strategy multi_worker: no other workers are described: set TF_CONFIG, use srun, or "
            "rehearse on this machine with: tfcamp launch --workers 2 -- COMMAND"
        )
    try:
        seconds = float(os.environ.get("TFCAMP_WORKER_WAIT", "300"))
    except ValueError as error:
        raise UserError(
            f"TFCAMP_WORKER_WAIT={os.environ['TFCAMP_WORKER_WAIT']}: expected seconds"
        ) from error
    meet(cluster, seconds=seconds)
    task_type, task_id = cluster.tasks[cluster.rank]
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(cluster.spec),
        task_type=task_type,
        task_id=task_id,
        num_accelerators={"GPU": len(tf.config.list_physical_devices("GPU"))},
        rpc_layer="grpc",
    )
    # A worker that dies between the meeting and here would be awaited in C++ for ever, and only
    # this timer runs then.
    faulthandler.dump_traceback_later(seconds + 60, exit=True)
    try:
        # Its default communication is NCCL between GPUs and rings between CPUs.
        strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    finally:
        faulthandler.cancel_dump_traceback_later()
    # TensorFlow's coordination service has taken SIGTERM, and ignores it: give it back to Python.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM) or signal.SIG_DFL)
    _choice.cluster = cluster if len(cluster) > 1 else None
    return strategy


def _tpu() -> tf.distribute.Strategy:
    # "local" is the TPU of this machine: a TPU VM, or Colab.
    name = os.environ.get("TPU_NAME") or "local"
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ImportError, OSError, RuntimeError, ValueError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())[:150]
        raise UserError(
            f"--strategy tpu: no TPU answers as {name!r} ({reason}): choose a TPU runtime, and "
            "there `pip uninstall -y tensorflow; pip install tensorflow-tpu` (it takes "
            "tensorflow's place, and stops at 2.20)"
        ) from error
    return tf.distribute.TPUStrategy(resolver)
