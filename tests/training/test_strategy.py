"""Which strategy a machine gets, and what is said where it cannot have one."""

import subprocess
import sys
import types

import pytest
import tensorflow as tf

import tfcamp.training.strategy
from tfcamp.errors import UserError
from tfcamp.training.strategy import choose_strategy, is_chief, shared_time, wait_for_workers

TWO_WORKERS = (
    '{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 1}}'
)
ONE_WORKER = '{"cluster": {"worker": ["a:2222"]}, "task": {"type": "worker", "index": 0}}'


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch):
    """A process without a strategy, on a machine with one CPU and nothing else."""
    for name in ("TF_CONFIG", "SLURM_STEP_NUM_TASKS", "TPU_NAME", "TPU_ACCELERATOR_TYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tfcamp.training.strategy, "_choice", tfcamp.training.strategy._Choice())


@pytest.fixture
def made(monkeypatch):
    """Makes strategies that only say what they are."""
    for name in ("_mirrored", "_multi_worker", "_tpu"):
        monkeypatch.setattr(tfcamp.training.strategy, name, lambda *_, name=name: [name])


def pretend_devices(monkeypatch, **paths: list[str]) -> None:
    files = {"/dev/accel[0-9]*": paths.get("accel", []), "/dev/vfio/[0-9]*": paths.get("vfio", [])}
    monkeypatch.setattr("glob.glob", files.__getitem__)


def test_the_library_that_tensorflow_does_not_find_is_loaded_first(monkeypatch, tmp_path) -> None:
    library = tmp_path / "nvidia/cusolver/lib/libcusolver.so.11"
    library.parent.mkdir(parents=True)
    library.touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "nvidia", raising=False)
    loaded = []

    def load(path: str) -> None:
        loaded.append(path)
        raise OSError("file too short")  # which is not the end

    monkeypatch.setattr("ctypes.CDLL", load)
    choose_strategy("one")
    assert loaded == [str(library)]


@pytest.mark.parametrize("name", ["one", "auto"])
def test_one_device(monkeypatch, name):
    pretend_devices(monkeypatch)
    strategy = choose_strategy(name)
    assert strategy is tf.distribute.get_strategy()
    assert strategy.num_replicas_in_sync == 1
    assert is_chief(strategy)
    assert shared_time(strategy) is None
    wait_for_workers(strategy)


def test_an_unknown_name_is_one_line():
    with pytest.raises(UserError, match="--strategy horovod: expected one of auto, one, mirrored"):
        choose_strategy("horovod")


@pytest.mark.parametrize("name", ["one", "multi_worker", "tpu"])
def test_virtual_devices_are_for_mirrored(name):
    with pytest.raises(UserError, match="--virtual-devices 2"):
        choose_strategy(name, virtual_devices=2)


def test_the_same_strategy_is_given_again_and_no_other(made):
    strategy = choose_strategy("mirrored")
    assert choose_strategy("mirrored") is strategy
    with pytest.raises(ValueError, match="tpu"):
        choose_strategy("tpu")
    with pytest.raises(ValueError, match="mirrored', 2"):
        choose_strategy("mirrored", virtual_devices=2)


def test_auto_sees_a_cluster(monkeypatch, made):
    monkeypatch.setenv("TF_CONFIG", TWO_WORKERS)
    assert choose_strategy() == ["_multi_worker"]


def test_auto_says_what_is_wrong_with_tf_config(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", TWO_WORKERS[:-5])
    with pytest.raises(UserError, match="TF_CONFIG: not JSON"):
        choose_strategy()


def test_auto_takes_a_cluster_of_one_for_a_machine(monkeypatch):
    pretend_devices(monkeypatch)
    monkeypatch.setenv("TF_CONFIG", ONE_WORKER)
    assert choose_strategy() is tf.distribute.get_strategy()


def test_auto_takes_virtual_devices_for_mirrored(made):
    assert choose_strategy(virtual_devices=2) == ["_mirrored"]


@pytest.mark.parametrize(
    ("environ", "accel", "vfio", "libtpu", "expected"),
    [
        ({"TPU_NAME": "local"}, [], [], False, True),
        ({"TPU_ACCELERATOR_TYPE": "v5litepod-1"}, [], [], False, True),
        ({}, ["/dev/accel0"], [], False, True),
        ({}, [], ["/dev/vfio/0"], True, True),
        ({}, [], ["/dev/vfio/11"], False, False),  # a card handed to a virtual machine
        ({}, [], [], True, False),
    ],
)
def test_auto_sees_a_tpu(monkeypatch, made, environ, accel, vfio, libtpu, expected):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    pretend_devices(monkeypatch, accel=accel, vfio=vfio)
    found = {"libtpu": "there"} if libtpu else {}
    monkeypatch.setattr("importlib.util.find_spec", found.get)
    assert (choose_strategy() == ["_tpu"]) == expected


@pytest.mark.parametrize(("num_gpus", "is_mirrored"), [(0, False), (1, False), (2, True)])
def test_auto_counts_gpus(monkeypatch, made, num_gpus, is_mirrored):
    pretend_devices(monkeypatch)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU"] * num_gpus)
    assert (choose_strategy() == ["_mirrored"]) == is_mirrored


def test_multi_worker_without_a_cluster_is_one_line():
    with pytest.raises(UserError, match="tfcamp launch --workers 2"):
        choose_strategy("multi_worker")


def test_a_wait_that_is_no_number_is_one_line(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", TWO_WORKERS)
    monkeypatch.setenv("TFCAMP_WORKER_WAIT", "5min")
    with pytest.raises(UserError, match="TFCAMP_WORKER_WAIT=5min: expected seconds"):
        choose_strategy("multi_worker")


def test_no_tpu_is_one_line():
    # The real TensorFlow of this machine says it.
    with pytest.raises(UserError, match=r"choose a TPU runtime.*tensorflow-tpu") as caught:
        choose_strategy("tpu")
    assert "'local'" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("environ", "name"), [({}, "local"), ({"TPU_NAME": "mine"}, "mine")])
def test_a_tpu_is_connected_then_initialised(monkeypatch, environ, name):
    for key, value in environ.items():
        monkeypatch.setenv(key, value)
    calls = []

    def record(what: str, result: object = None):
        def call(*arguments, **options):
            calls.append((what, *arguments, *options.values()))
            return result

        return call

    resolvers = tf.distribute.cluster_resolver
    monkeypatch.setattr(resolvers, "TPUClusterResolver", record("resolve", "resolver"))
    monkeypatch.setattr(tf.config, "experimental_connect_to_cluster", record("connect"))
    monkeypatch.setattr(tf.tpu.experimental, "initialize_tpu_system", record("initialise"))
    monkeypatch.setattr(tf.distribute, "TPUStrategy", record("make", "strategy"))
    assert choose_strategy("tpu") == "strategy"
    assert calls == [
        ("resolve", name),
        ("connect", "resolver"),
        ("initialise", "resolver"),
        ("make", "resolver"),
    ]


@pytest.mark.parametrize(
    ("jobs", "task", "expected"),
    [
        ({"worker": ["a:1", "b:1"]}, ("worker", 0), True),
        ({"worker": ["a:1", "b:1"]}, ("worker", 1), False),
        ({"chief": ["c:1"], "worker": ["a:1"]}, ("chief", 0), True),
        ({"chief": ["c:1"], "worker": ["a:1"]}, ("worker", 0), False),
        ({}, (None, None), True),
    ],
)
def test_the_chief_of_a_cluster(monkeypatch, jobs, task, expected):
    class Strategy:
        """Stands for MultiWorkerMirroredStrategy, which would wait for the others."""

        cluster_resolver = types.SimpleNamespace(
            cluster_spec=lambda: tf.train.ClusterSpec(jobs), task_type=task[0], task_id=task[1]
        )

    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", Strategy)
    assert is_chief(Strategy()) == expected


def test_devices_that_are_there_are_used(two_replicas):
    # The test run has two: asking for two is no change, asking for three comes too late. Made in
    # a process of its own, because a second MirroredStrategy may get in the way of the first.
    assert two_replicas.num_replicas_in_sync == 2
    with pytest.raises(UserError, match=r"--virtual-devices 3: too late.*restart the runtime"):
        choose_strategy("mirrored", virtual_devices=3)
    with pytest.raises(UserError, match="--virtual-devices 0"):
        choose_strategy("mirrored", virtual_devices=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "replicas"), [("'mirrored'", 1), ("virtual_devices=3", 3), ("'one'", 1)]
)
def test_replicas_sum(arguments, replicas):
    program = f"""
from tfcamp.training.strategy import choose_strategy, is_chief, wait_for_workers
import tensorflow as tf

strategy = choose_strategy({arguments})
assert choose_strategy({arguments}) is strategy
assert is_chief(strategy)
with strategy.scope():
    weight = tf.Variable(2.0)
step = tf.function(lambda: strategy.run(lambda: weight + 1.0))
print(strategy.num_replicas_in_sync, strategy.reduce("SUM", step(), axis=None).numpy())
wait_for_workers(strategy)
"""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, f"{replicas} {3.0 * replicas}\n"), ended.stderr
