"""Jobs on a real Ray of this machine: the results of local processes, whatever is lost on the way."""

import dataclasses
import functools
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from benchmarks import pools
from benchmarks.jobs import Workers
from benchmarks.pools import open_pool
from benchmarks.records import load_record
from benchmarks.rollouts import RolloutConfig, rollout
from benchmarks.sweep import sweep
from benchmarks.tasks import Entry, Run, Task
from benchmarks.training import execute
from benchmarks.validity import compare_in_jobs
from recsim_hrl.data.world import World, WorldConfig
from recsim_hrl.simulator.store import random_simulator, save_simulator
from recsim_hrl.simulator.validity.fidelity import FidelityConfig, compare_values
from tests.benchmarks import fake_execute as fake
from tests.benchmarks.waiting import is_running, wait_for

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'recsim-hrl[ray]'")

ROOT = Path(__file__).parents[2]
STOPPED = Path(__file__).with_name("stopped_sweep.py")


@pytest.fixture(scope="module")
def ray_folder():
    """Where Ray puts its sessions; short, as the names of sockets have a limit of about 100 letters."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", str(folder))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def running_ray(ray_folder):
    """A Ray of two cores that the tests of this module share."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="warning", log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def traces(tmp_path):
    folder = tmp_path / "traces"
    folder.mkdir()
    return folder


def keyed(make_run, seeds):
    return [(make_run(seed=seed, steps=100 - seed), f"{seed:016x}") for seed in range(seeds)]


def times_done(traces: Path) -> dict[int, int]:
    return {int(path.name.removeprefix("fake-")): len(path.read_text().splitlines()) for path in traces.iterdir()}


def processes_of(folder: Path) -> list[str]:
    """Command lines of the processes of the Ray that keeps its sessions in ``folder``."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it has just ended
            continue
    return [line for line in lines if str(folder) in line]


def test_a_run_on_ray_is_the_local_run_to_the_bit(running_ray, tmp_path):
    for split in ("train", "test"):
        save_simulator(random_simulator(items=60), tmp_path / "market" / split)
    task = Task("short", "RecSessionShort-v0", 5, 6, str(tmp_path / "market"), candidates=30, parallel=4)
    runs = [(Run(task, Entry("ddpg", steps=400, settings=(("warmup_steps", 40),)), seed), "key") for seed in range(2)]
    work = functools.partial(execute, logs=tmp_path)
    local, on_ray = (
        sweep(runs, tmp_path / name, work, workers=2, stream=io.StringIO(), ray=address)
        for name, address in (("local", None), ("ray", "local"))
    )
    timeless = {"train_seconds": 0.0, "evaluate_seconds": 0.0}
    assert [dataclasses.replace(record, **timeless) for record in on_ray] == [
        dataclasses.replace(record, **timeless) for record in local
    ]
    assert local[0].click_rewards != local[1].click_rewards and local[0].curve


def test_a_rollout_on_ray_is_the_local_rollout_to_the_byte(running_ray, tmp_path):
    for split in ("train", "test"):
        save_simulator(random_simulator(items=60), tmp_path / "market" / split)
    about = {"sessions": 10, "session_length": 5, "candidates": 30, "parallel": 2, "shard": 4}
    files = []
    for address in (None, "local"):
        log = rollout(RolloutConfig(tmp_path / "log", simulator=str(tmp_path / "market"), ray=address, **about))
        files.append({path.name: path.read_bytes() for path in log.path.rglob("*") if path.is_file()})
        shutil.rmtree(log.path)
    assert files[0] == files[1] and {"metadata.json", "items.parquet", "part-00000.parquet"} == set(files[0])


def test_policy_values_on_ray_are_the_local_ones_to_the_bit(running_ray, tmp_path):
    world = World(WorldConfig(items=60, categories=3, embedding_dim=6))
    simulator = dataclasses.replace(random_simulator(items=60, embedding_dim=6), catalogue=world.catalogue)
    config = FidelityConfig(lengths=(3, 4), impressions=24, candidates=12, workers=1)
    alone = compare_values(simulator, world, config, log=lambda _: None)
    where = {"parts": tmp_path / "parts", "where": Workers(2, "local")}
    on_ray = compare_in_jobs(simulator, world, config, lambda _: None, None, **where)
    assert len(on_ray.values) == 20 and str(on_ray.to_json()) == str(alone.to_json())


def test_a_killed_worker_loses_nothing(running_ray, tmp_path, traces, make_run):
    killed = []

    def kill():
        wait_for((traces / "fake-1").exists)
        killed.append(int((traces / "fake-1").read_text()))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    work = functools.partial(fake.hang_at_first, traces=traces, unlucky=1)
    records = sweep(keyed(make_run, 6), tmp_path / "runs", work, stream=io.StringIO(), ray="local")
    killer.join()
    assert records == [fake.record_of(run, key) for run, key in keyed(make_run, 6)]
    assert times_done(traces) == {0: 1, 1: 2, 2: 1, 3: 1, 4: 1, 5: 1}
    first, second = map(int, (traces / "fake-1").read_text().split())
    assert first == killed[0] != second


def test_a_job_that_fails_is_told_and_not_repeated(running_ray, tmp_path, traces, make_run):
    failing = functools.partial(fake.fail_on_seed_1, traces=traces)
    with pytest.raises(RuntimeError, match=r"1 of 3 runs failed, first short fake seed 1: ValueError: this seed is un"):
        sweep(keyed(make_run, 3), tmp_path / "runs", failing, stream=io.StringIO(), ray="local")
    assert times_done(traces) == {0: 1, 1: 1, 2: 1}
    work = functools.partial(fake.leave_trace, traces=traces)
    assert len(sweep(keyed(make_run, 3), tmp_path / "runs", work, stream=io.StringIO(), ray="local")) == 3
    assert times_done(traces) == {0: 1, 1: 2, 2: 1}


def test_a_job_that_takes_every_worker_with_it_is_given_up_and_the_others_are_kept(
    running_ray, tmp_path, traces, make_run
):
    work = functools.partial(fake.lose_every_worker, traces=traces, unlucky=0)
    with pytest.raises(RuntimeError, match=r"1 of 3 runs failed, first short fake seed 0: WorkerCrashedError: "):
        sweep(keyed(make_run, 3), tmp_path / "runs", work, stream=io.StringIO(), ray="local")
    assert times_done(traces) == {0: 1 + pools.RETRIES, 1: 1, 2: 1}
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_jobs_in_flight_are_bounded(running_ray, monkeypatch):
    monkeypatch.setattr(pools, "IN_FLIGHT", 2)
    with open_pool(2, "local") as pool:
        places = []
        for outcome in pool.finished(pow, [(2, number) for number in range(5)]):
            assert outcome.result == 2**outcome.place and len(pool._waiting) < 2
            places.append(outcome.place)
    assert sorted(places) == [0, 1, 2, 3, 4]


def test_a_worker_that_does_not_see_the_folder_sends_its_result(running_ray, tmp_path, make_run, monkeypatch):
    """As on another machine: the folder is there for the driver alone."""
    folder = tmp_path / "runs"
    hidden = functools.partial(fake.hide_folder, folder=folder)
    (record,) = sweep(keyed(make_run, 1), folder, hidden, stream=io.StringIO(), ray="local")
    assert record == fake.record_of(*keyed(make_run, 1)[0])
    assert [path.name for path in folder.iterdir()] == [record.file_name]


def test_jobs_in_flight_end_when_the_driver_leaves_a_ray_that_goes_on(running_ray, traces):
    with pytest.raises(KeyError), open_pool(2, "local") as pool:
        for outcome in pool.finished(fake.wait_for_ever, [(traces, "hangs", False), (traces, "ends", True)]):
            wait_for((traces / "hangs").exists)
            raise KeyError(outcome.place)
    worker = int((traces / "hangs").read_text())
    wait_for(lambda: not is_running(worker))
    assert ray.is_initialized()


def test_shared_values_reach_every_job(running_ray):
    with open_pool(2, "local") as pool:
        shared = pool.share({"a": 1})
        outcomes = list(pool.finished(fake.look_up, [(shared, "a"), (shared, "b")]))
    assert sorted((outcome.place, outcome.result, repr(outcome.error)) for outcome in outcomes) == [
        (0, 1, "None"),
        (1, None, "KeyError('b')"),
    ]


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_driver_loses_no_finished_run(running_ray, ray_folder, tmp_path, traces, make_run, ending):
    folder, own = tmp_path / "runs", ray_folder / ending.name
    own.mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RAY_TMPDIR": str(own)}
    command = [sys.executable, str(STOPPED), str(folder), str(traces), "local"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    wait_for(lambda: times_done(traces) == {seed: 1 for seed in range(4)})
    assert processes_of(own)
    process.send_signal(ending)
    process.wait(timeout=60)
    assert process.returncode != 0
    workers = [int(path.read_text()) for path in traces.iterdir()]
    wait_for(lambda: not any(map(is_running, workers)) and not processes_of(own))
    assert sorted(path.name for path in folder.glob("[!.]*")) == [f"short-fake-{n}-{n:016x}.json" for n in (0, 1)]

    work = functools.partial(fake.leave_trace, traces=traces)
    records = sweep(keyed(make_run, 4), folder, work, stream=io.StringIO(), ray="local")
    assert records == [fake.record_of(run, key) for run, key in keyed(make_run, 4)]
    assert times_done(traces) == {0: 1, 1: 1, 2: 2, 3: 2}


LOST_NODE = """
import functools, pathlib, sys, threading
import ray
from ray.cluster_utils import Cluster
from benchmarks.sweep import sweep
from benchmarks.tasks import Entry, Run, Task
from tests.benchmarks import fake_execute
from tests.benchmarks.waiting import wait_for

if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    traces, told = folder / "traces", folder / "node"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=cluster.address, logging_level="warning", log_to_driver=False)

    def lose_a_node():
        wait_for((traces / "fake-1").exists)
        cluster.remove_node(next(node for node in nodes if node.node_id == told.read_text()), allow_graceful=False)

    losing = threading.Thread(target=lose_a_node)
    losing.start()
    task = Task("short", "Fake-v0", session_length=5, sessions=4)
    runs = [(Run(task, Entry("fake", steps=100 - seed), seed), f"{seed:016x}") for seed in range(4)]
    work = functools.partial(fake_execute.tell_node_and_hang_at_first, traces=traces, unlucky=1)
    sweep(runs, folder / "runs", work, ray=cluster.address)
    losing.join()
    ray.shutdown()
    cluster.shutdown()
"""


def test_a_lost_machine_loses_nothing(ray_folder, tmp_path, traces, make_run):
    """Two machines, as far as Ray can tell; the one with the run that does not end is taken away."""
    own = ray_folder / "machines"
    own.mkdir()
    script = tmp_path / "machines.py"
    script.write_text(LOST_NODE)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RAY_TMPDIR": str(own)}
    subprocess.run([sys.executable, script, tmp_path], check=True, env=environment, capture_output=True, timeout=120)
    assert times_done(traces) == {0: 1, 1: 2, 2: 1, 3: 1}
    for run, key in keyed(make_run, 4):
        assert load_record(tmp_path / "runs" / f"short-fake-{run.seed}-{key}.json") == fake.record_of(run, key)
    wait_for(lambda: not processes_of(own))


def test_without_ray_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"ray: got 'local', but Ray is not installed; pip install 'recsim-hrl\[ray\]"):
        with open_pool(1, "local"):
            pass


def test_an_address_without_a_cluster_is_told(monkeypatch):
    def nobody(**_):
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", nobody)
    with pytest.raises(
        ValueError, match="ray: got 'auto', where no cluster answers .*; start it with `ray start --head`"
    ):
        with open_pool(1, "auto"):
            pass


def test_the_command_takes_an_address(running_ray, tmp_path):
    """``python -m benchmarks.run --ray auto`` joins the Ray that runs here, and brings its own code along."""
    address = ray.get_runtime_context().gcs_address
    words = ["--out", str(tmp_path), "--agents", "random", "--tasks", "short", "--ray", address]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", "benchmarks.run", *words], check=True, env=environment, capture_output=True)
    records = [json.loads(path.read_text()) for path in (tmp_path / "quick" / "runs").iterdir()]
    assert sorted((record["agent"], record["seed"]) for record in records) == [("random", 0), ("random", 1)]
