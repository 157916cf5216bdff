"""Who the workers are, and that those who do not come are named."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import tensorflow as tf

from tfcamp.errors import UserError
from tfcamp.launch import free_ports
from tfcamp.training.cluster import (
    Cluster,
    find_cluster,
    meet,
    naming_lost_workers,
    read_tf_config,
)


def tf_config(cluster: object, task: object = None) -> str:
    return json.dumps({"cluster": cluster, "task": task or {"type": "worker", "index": 0}})


def test_workers_of_tf_config():
    cluster = read_tf_config(
        tf_config({"worker": ["a:2222", "b:2222"]}, {"type": "worker", "index": 1})
    )
    assert cluster == Cluster((("worker", 0), ("worker", 1)), ("a:2222", "b:2222"), rank=1)
    assert cluster is not None and cluster.spec == {"worker": ["a:2222", "b:2222"]}


def test_the_chief_comes_first():
    # As Kubernetes and Vertex AI write it: a chief, workers, sometimes an evaluator.
    jobs = {"evaluator": ["e:2222"], "worker": ["a:2222", "b:2222"], "chief": ["c:2222"]}
    cluster = read_tf_config(tf_config(jobs, {"type": "worker", "index": "0"}))
    assert cluster is not None
    assert cluster.addresses == ("c:2222", "a:2222", "b:2222")
    assert (cluster.rank, cluster.name(1)) == (1, "worker 0 (a:2222)")
    assert cluster.spec == {"chief": ["c:2222"], "worker": ["a:2222", "b:2222"]}


@pytest.mark.parametrize("text", ["{}", '{"cluster": {}}', '{"task": {"type": "worker"}}'])
def test_no_cluster(text):
    assert read_tf_config(text) is None
    assert find_cluster({"TF_CONFIG": text}) is None
    assert find_cluster({}) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{'cluster'}", "not JSON"),
        ("3", "expected"),
        (tf_config(["a:2222"]), "expected"),
        (tf_config({"worker": "a:2222"}), "expected"),
        ('{"cluster": {"worker": ["a:2222"]}}', '"task"'),
        (tf_config({"worker": ["a:2222"]}, {"type": "worker"}), '"task"'),
        (tf_config({"worker": ["a:2222"]}, {"type": "worker", "index": 1}), "task worker 1"),
        (tf_config({"worker": ["a:2222"]}, {"type": "worker", "index": -1}), "task worker -1"),
        (tf_config({"worker": ["a:2222"]}, {"type": "chief", "index": 0}), "task chief 0"),
        (tf_config({"worker": ["a:2222"]}, {"type": "evaluator", "index": 0}), "evaluator"),
        (tf_config({"worker": ["a:2222"]}, {"type": ["worker"], "index": 0}), '"task"'),
        (tf_config({"worker": ["a:2222"]}, {"type": "worker", "index": "²"}), "task worker ²"),
        (tf_config({"worker": ["a:2222"], "ps": ["b:2222"]}), "ps"),
        (tf_config({"worker": ["a:2222"], "chief": ["b:1", "c:1"]}), "2 chiefs"),
        (tf_config({"worker": ["a"]}), "'a'"),
        (tf_config({"worker": ["a:port"]}), "'a:port'"),
        (tf_config({"worker": ["a:65536"]}), "'a:65536'"),
        (tf_config({"worker": [":2222"]}), "':2222'"),
        (tf_config({"worker": [2222]}), "2222"),
        (tf_config({"worker": ["a:2222", "a:2222"]}), "same address"),
    ],
)
def test_what_cannot_be_understood_is_said_in_one_line(text, said):
    with pytest.raises(UserError, match=r"^TF_CONFIG: ") as caught:
        read_tf_config(text)
    assert said in str(caught.value) and "\n" not in str(caught.value)


# What Slurm sets for the two tasks of `srun --nodes 2 --ntasks-per-node 1` on n9 and n10.
SLURM = {
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_NODELIST": "n[9-10]",
    "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
}


@pytest.fixture
def slurm(monkeypatch):
    """Finds the cluster as a task that Slurm started."""

    def slurm(**variables: str) -> Cluster | None:
        monkeypatch.delenv("TF_CONFIG", raising=False)
        for name, value in (SLURM | variables).items():
            monkeypatch.setenv(name, value)
        return find_cluster()

    return slurm


@pytest.mark.parametrize(("machine", "procid", "rank"), [("n9", "0", 1), ("n10", "1", 0)])
def test_slurm_tasks_find_themselves(slurm, machine, procid, rank):
    cluster = slurm(SLURM_PROCID=procid, SLURMD_NODENAME=machine, SLURM_LOCALID="0")
    # The resolver sorts n10 before n9: the rank is not Slurm's.
    assert cluster == Cluster((("worker", 0), ("worker", 1)), ("n10:8888", "n9:8888"), rank)


def test_two_slurm_tasks_on_one_machine(slurm):
    cluster = slurm(
        SLURM_STEP_NODELIST="gpu1",
        SLURM_STEP_TASKS_PER_NODE="2",
        SLURM_PROCID="1",
        SLURMD_NODENAME="gpu1",
        SLURM_LOCALID="1",
    )
    assert cluster == Cluster((("worker", 0), ("worker", 1)), ("gpu1:8888", "gpu1:8889"), 1)


def test_a_program_outside_srun_is_alone():
    assert find_cluster({"SLURM_NTASKS": "2", "SLURM_PROCID": "0"}) is None


def test_a_missing_slurm_variable_is_one_line(slurm, monkeypatch):
    monkeypatch.delenv("SLURMD_NODENAME", raising=False)
    with pytest.raises(UserError, match=r"SLURMD_NODENAME.*srun"):
        slurm(SLURM_PROCID="0", SLURM_LOCALID="0")


def local_clusters(count: int) -> list[Cluster]:
    """A cluster on free ports of this machine, as each of its processes sees it."""
    tasks = tuple(("worker", i) for i in range(count))
    addresses = tuple(f"127.0.0.1:{port}" for port in free_ports(count))
    return [Cluster(tasks, addresses, rank) for rank in range(count)]


def meet_all(clusters: list[Cluster], seconds: float) -> list[str | None]:
    """Lets threads meet as processes would, and returns the error of each."""

    def one(cluster: Cluster) -> str | None:
        try:
            meet(cluster, seconds=seconds)
        except UserError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(len(clusters)) as threads:
        return list(threads.map(one, clusters))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_workers_meet_in_any_order(count):
    clusters = local_clusters(count)
    assert meet_all(clusters[::-1], 600) == [None] * count
    # The ports are free for TensorFlow, and for a restart.
    assert meet_all(clusters, 600) == [None] * count


def test_the_worker_that_never_comes_is_named_by_all():
    clusters = local_clusters(4)
    errors = meet_all([clusters[0], clusters[2]], 3)
    for error in errors:
        assert error is not None
        assert error.startswith(f"{clusters[0].name(1)}, {clusters[0].name(3)} did not come")
        assert "TFCAMP_WORKER_WAIT" in error and "\n" not in error


def test_the_chief_that_never_comes_is_named():
    clusters = local_clusters(3)
    errors = meet_all(clusters[1:], 0.5)
    for error in errors:
        assert error is not None and error.startswith(f"{clusters[0].name(0)} did not come")


def test_a_port_in_use_is_named():
    clusters = local_clusters(2)
    address = clusters[1].addresses[1]
    with socket.create_server(("", int(address.rpartition(":")[2]))):
        with pytest.raises(UserError, match=rf"worker 1 \({address}\): cannot listen"):
            meet(clusters[1], seconds=1)


def test_a_worker_with_other_addresses_is_refused():
    clusters = local_clusters(2)
    (port,) = free_ports(1)
    stranger = Cluster(clusters[0].tasks, (clusters[0].addresses[0], f"127.0.0.1:{port}"), 1)
    first, second = meet_all([clusters[0], stranger], 3)
    assert first is not None and "did not come" in first
    assert second is not None and "same cluster in TF_CONFIG" in second


def test_a_worker_whose_address_leads_nowhere_is_named():
    clusters = local_clusters(2)
    # It listens on its port, but TF_CONFIG gives it an address to which nobody can connect.
    addresses = (
        clusters[0].addresses[0],
        clusters[0].addresses[1].replace("127.0.0.1", "255.255.255.255"),
    )
    errors = meet_all([Cluster(clusters[0].tasks, addresses, rank) for rank in range(2)], 600)
    assert all(error is not None and "cannot reach it" in error for error in errors)


def test_strangers_do_not_disturb_the_meeting():
    clusters = local_clusters(2)
    host, _, port = clusters[0].addresses[0].rpartition(":")
    with ThreadPoolExecutor(1) as threads:
        errors = threads.submit(meet_all, clusters[:1], 600)
        for message in (b"GET / HTTP/1.1\r\n\r\n", b"\xff\n", b"[]\n", b'{"rank": 1}\n'):
            for _ in range(60_000):  # until the chief listens
                try:
                    with socket.create_connection((host, int(port))) as stranger:
                        stranger.sendall(message)
                    break
                except ConnectionRefusedError:
                    threading.Event().wait(0.01)
        assert meet_all(clusters[1:], 600) == [None]
        assert errors.result() == [None]


CLUSTER = Cluster((("chief", 0), ("worker", 0)), ("c:1", "w:1"), rank=0)
LOST = "Collective ops is aborted by: Error from /job:chief/task:0: /job:worker/replica:0/task:0"


@pytest.mark.parametrize("error_class", [tf.errors.UnavailableError, tf.errors.AbortedError])
def test_a_lost_worker_is_named(error_class):
    with pytest.raises(UserError, match=r"lost worker 0 \(w:1\).*last checkpoint"):
        with naming_lost_workers(CLUSTER):
            raise error_class(None, None, LOST)


@pytest.mark.parametrize(
    ("cluster", "message"),
    [(CLUSTER, "Incompatible shapes"), (CLUSTER, "at /job:chief/task:0"), (None, LOST)],
)
def test_other_errors_pass(cluster, message):
    with pytest.raises(tf.errors.InvalidArgumentError):
        with naming_lost_workers(cluster):
            raise tf.errors.InvalidArgumentError(None, None, message)
