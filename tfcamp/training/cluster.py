"""The processes that train together: who they are, and how they wait for each other.

TensorFlow connects the workers itself, but while one is missing it waits inside C++, for ever, deaf
to Ctrl-C and SIGTERM. So the workers meet here first, over plain TCP on the ports that TensorFlow
will use a moment later: who does not come within a time is named.
"""

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import tensorflow as tf

from tfcamp.errors import UserError

# TensorFlow's resolver counts Slurm's tasks on each machine from this port upwards.
_SLURM_PORT = 8888
_POLL_SECONDS = 0.2
_ANSWER_SECONDS = 5.0
_LONGEST_MESSAGE = 2**16


@dataclass(frozen=True)
class Cluster:
    """The processes of one training run, the chief first.

    Attributes:
      tasks: type and index of each, such as ``("worker", 1)``.
      addresses: ``host:port`` of each.
      rank: which of them this process is.
    """

    tasks: tuple[tuple[str, int], ...]
    addresses: tuple[str, ...]
    rank: int

    def __len__(self) -> int:
        """Returns the number of processes."""
        return len(self.tasks)

    def name(self, rank: int) -> str:
        """Returns what a message calls a process.

        >>> Cluster((("worker", 0), ("worker", 1)), ("a:2222", "b:2222"), rank=0).name(1)
        'worker 1 (b:2222)'
        """
        task, index = self.tasks[rank]
        return f"{task} {index} ({self.addresses[rank]})"

    @property
    def spec(self) -> dict[str, list[str]]:
        """The addresses by type, as ``tf.train.ClusterSpec`` takes them."""
        types = dict.fromkeys(task for task, _ in self.tasks)
        return {
            name: [
                a for (task, _), a in zip(self.tasks, self.addresses, strict=True) if task == name
            ]
            for name in types
        }


def find_cluster(environ: Mapping[str, str] = os.environ) -> Cluster | None:
    """Returns the cluster that the environment describes: TF_CONFIG, or a step of Slurm's ``srun``.

    Args:
      environ: the environment variables.

    Returns:
      The cluster; None where neither describes one.

    Raises:
      UserError: TF_CONFIG cannot be understood.
    """
    if environ.get("TF_CONFIG", "").strip():
        return read_tf_config(environ["TF_CONFIG"])
    # Inside sbatch but outside srun there is one process, whatever SLURM_NTASKS says.
    if int(environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return read_slurm(environ)
    return None


def read_tf_config(text: str) -> Cluster | None:
    """Returns the cluster that a value of TF_CONFIG describes; None if it names no cluster.

    Args:
      text: JSON such as
        ``{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}``;
        beside workers there may be one chief.

    Raises:
      UserError: it is no such JSON; the message says where.
    """
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"TF_CONFIG: not JSON ({error}): {text[:100]}") from error
    jobs = config.get("cluster") if isinstance(config, dict) else config
    if jobs == {} or jobs is None:
        return None
    if not isinstance(jobs, dict) or not all(isinstance(job, list) for job in jobs.values()):
        raise UserError(f'TF_CONFIG: expected {{"cluster": {{"worker": [...]}}}}, got {text[:100]}')
    task = config.get("task")
    if not isinstance(task, dict) or not isinstance(task.get("type"), str) or "index" not in task:
        raise UserError(
            f'TF_CONFIG: expected "task": {{"type": "worker", "index": 0}}, got {task!r:.100}'
        )
    # An evaluator trains nothing; it may stand in a description that was written for others.
    jobs = {name: addresses for name, addresses in jobs.items() if name != "evaluator"}
    unknown = {*jobs, task["type"]} - {"chief", "worker"}
    if unknown:
        raise UserError(f"TF_CONFIG: {min(unknown)}: expected only chief and worker tasks")
    if len(jobs.get("chief", [])) > 1:
        raise UserError(f"TF_CONFIG: {len(jobs['chief'])} chiefs: expected one")
    tasks = tuple((name, i) for name in sorted(jobs) for i in range(len(jobs[name])))
    addresses = tuple(jobs[name][i] for name, i in tasks)
    for address in addresses:
        found = re.fullmatch(".+:([1-9][0-9]{0,4})", address) if isinstance(address, str) else None
        if found is None or int(found[1]) >= 2**16:
            raise UserError(f"TF_CONFIG: address {address!r}: expected host:port")
    if len(set(addresses)) < len(addresses):
        raise UserError("TF_CONFIG: two tasks have the same address; give each a port of its own")
    index = str(task["index"])
    own = (task["type"], int(index) if re.fullmatch("[0-9]+", index) else index)
    if own not in tasks:
        count = len(jobs.get(task["type"], []))
        raise UserError(
            f"TF_CONFIG: task {own[0]} {own[1]}: the cluster has {count} of that type, from 0 on"
        )
    return Cluster(tasks, addresses, tasks.index(own))


def read_slurm(environ: Mapping[str, str] = os.environ) -> Cluster:
    """Returns the cluster of the tasks that ``srun`` started.

    TensorFlow's resolver makes the list. It is asked for nothing else: without GPUs it fails, and
    it sorts machines by name (n10 before n9), which is not the order of Slurm's ranks. Here a
    process finds itself in the list by its machine and its place there.

    Raises:
      UserError: a variable is missing, or this process does not stand in the list.
    """
    try:
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=_SLURM_PORT, gpus_per_node=2**16, gpus_per_task=1, auto_set_gpu=False
        )
        addresses = resolver.cluster_spec().as_dict()["worker"]
        own = f"{environ['SLURMD_NODENAME']}:{_SLURM_PORT + int(environ['SLURM_LOCALID'])}"
        rank = addresses.index(own)
    except (KeyError, RuntimeError, ValueError) as error:
        raise UserError(f"Slurm: {error}; start the program with srun") from error
    tasks = tuple(("worker", i) for i in range(len(addresses)))
    return Cluster(tasks, tuple(addresses), rank)


def meet(cluster: Cluster, *, seconds: float) -> None:
    """Returns when all processes of the cluster are there.

    The chief listens, the others report to it, and it tries to reach each of them in turn.

    Args:
      cluster: the processes; each calls this with the same addresses.
      seconds: how long to wait.

    Raises:
      UserError: some did not come, or cannot be reached; the message names them.
    """
    if len(cluster) < 2:
        return
    deadline = time.monotonic() + seconds
    with _listen(cluster) as listener:
        if cluster.rank == 0:
            _gather(cluster, listener, deadline, seconds)
        else:
            _report(cluster, deadline, seconds)


def _listen(cluster: Cluster) -> socket.socket:
    """Takes the port that TensorFlow will use, so that one in use is noticed now."""
    port = int(cluster.addresses[cluster.rank].rpartition(":")[2])
    try:
        return socket.create_server(("", port), backlog=len(cluster))
    except OSError as error:
        raise UserError(
            f"{cluster.name(cluster.rank)}: cannot listen on port {port} ({error.strerror}): does "
            "another run use it? choose another port"
        ) from error


def _gather(cluster: Cluster, listener: socket.socket, deadline: float, seconds: float) -> None:
    """Is what the chief does: waits for the others, and tells all of them how it went."""
    came: dict[int, socket.socket] = {}
    with contextlib.ExitStack() as stack:
        while len(came) < len(cluster) - 1 and time.monotonic() < deadline:
            listener.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                connection = stack.enter_context(listener.accept()[0])
            except TimeoutError:
                break
            greeting = _receive(connection, _ANSWER_SECONDS)
            # One that gave up again, or was restarted, has closed its connection.
            came = {rank: peer for rank, peer in came.items() if _is_open(peer)}
            if greeting.get("addresses") == list(cluster.addresses):
                rank = greeting["rank"]
                if rank in came:
                    _send(
                        connection, {"problem": f"two processes say they are {cluster.name(rank)}"}
                    )
                else:
                    came[rank] = connection
            elif greeting:
                _send(connection, {"problem": f"{cluster.name(0)} {_DIFFERENT}"})
        problem = _problem(cluster, set(came), seconds)
        # Before they know, so that nobody who knows can still reach this listener.
        listener.close()
        for peer in came.values():
            _send(peer, {"problem": problem})
    if problem:
        raise UserError(problem)


_DIFFERENT = "was started with other addresses: give all workers the same cluster in TF_CONFIG"


def _problem(cluster: Cluster, came: set[int], seconds: float) -> str | None:
    missing = sorted(set(range(1, len(cluster))) - came)
    if missing:
        return _missing(cluster, missing, seconds)
    for rank in came:
        host, _, port = cluster.addresses[rank].rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
        except (OSError, UnicodeError) as error:
            return (
                f"{cluster.name(rank)} came, but {cluster.name(0)} cannot reach it there "
                f"({error}): check the address and the firewall"
            )
    return None


def _missing(cluster: Cluster, ranks: list[int], seconds: float) -> str:
    names = ", ".join(cluster.name(rank) for rank in ranks)
    return (
        f"{names} did not come within {seconds:g} s: check that it was started, what its output "
        "says, and that its address can be reached; TFCAMP_WORKER_WAIT=SECONDS waits longer"
    )


def _report(cluster: Cluster, deadline: float, seconds: float) -> None:
    """Is what the others do: finds the chief, and waits for what it says."""
    host, _, port = cluster.addresses[0].rpartition(":")
    greeting = {"addresses": cluster.addresses, "rank": cluster.rank}
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, UnicodeError):  # not there yet, or gone again
            with socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS) as chief:
                _send(chief, greeting)
                # The chief may have started later than this process, and so gives up later.
                answer = _receive(chief, seconds + _ANSWER_SECONDS)
            if answer.get("problem", "") is None:
                return
            if answer.get("problem"):
                raise UserError(answer["problem"])
        time.sleep(_POLL_SECONDS)
    raise UserError(_missing(cluster, [0], seconds))


def _send(connection: socket.socket, message: dict) -> None:
    with contextlib.suppress(OSError):  # who is gone will be missed by TensorFlow
        connection.sendall(json.dumps(message).encode() + b"\n")


def _receive(connection: socket.socket, seconds: float) -> dict:
    """Returns a message; an empty one if what came, or did not come, is none of ours."""
    connection.settimeout(seconds)
    try:
        with connection.makefile("rb") as stream:
            message = json.loads(stream.readline(_LONGEST_MESSAGE))
    except (OSError, ValueError):
        return {}
    return message if isinstance(message, dict) else {}


def _is_open(connection: socket.socket) -> bool:
    connection.settimeout(0)
    try:
        return connection.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


@contextlib.contextmanager
def naming_lost_workers(cluster: Cluster | None) -> Iterator[None]:
    """Turns the failure of a computation whose other workers are gone into one line.

    TensorFlow's workers send each other heartbeats; ten seconds after the last one of a worker that
    died, and at once where its connection breaks, the others' collective operations fail.

    Args:
      cluster: the processes; None for a process alone, whose errors pass unchanged.

    Raises:
      UserError: another worker was lost.
    """
    try:
        yield
    except tf.errors.OpError as error:
        lost = None if cluster is None else _lost_worker(cluster, error.message)
        if lost is None:
            raise
        raise UserError(
            f"lost {lost}: its own output says why; the same command on all workers goes on from "
            "the last checkpoint"
        ) from error


def _lost_worker(cluster: Cluster, message: str) -> str | None:
    """Returns the first other worker that a message of TensorFlow's names."""
    for task, index in re.findall(r"/job:(\w+)/(?:replica:\d+/)?task:(\d+)", message):
        named = (task, int(index))
        if named in cluster.tasks and cluster.tasks.index(named) != cluster.rank:
            return cluster.name(cluster.tasks.index(named))
    return None
