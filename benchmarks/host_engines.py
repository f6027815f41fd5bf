"""Asks which engine should play a host fitness: our worker processes, a pool of the standard library, Dask or Ray.

Evaluations per second of a population in Gymnasium with two workers, all engines in the same rounds. What a start
costs, from nothing to the end of the first evaluation, beyond what a later one takes. The memory of a worker that it
shares with none. What a worker costs that is killed amid an evaluation, over that one and the five after it. How long
an evaluation takes amid which one of two nodes is killed. The bits must be those of this process throughout. Dask and
Ray run as they should: Dask with TLS, Ray with its token. An engine that is not installed is left out.

    python benchmarks/host_engines.py
"""

import importlib.util
import multiprocessing
import os
import runpy
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import distribution
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import jax
import numpy as np
import psutil
import tyro
from packaging.requirements import Requirement
from timing import Program, finish, interleave, speed, table

import neuralmutator as nm

FLOOR = 0.9
KEY = jax.random.key(1)
AFTER = 5  # evaluations after the one amid which a worker was killed
SIZES = {"CartPole-v1": (4, 2), "LunarLander-v3": (8, 4)}
RayExecutor = runpy.run_path(str(Path(__file__).parent.parent / "examples" / "cluster.py"))["RayExecutor"]


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    population: int = 64
    episodes: int = 10
    num_envs: int = 64
    rounds: int = 9
    kills: int = 3


class Engine(NamedTuple):
    """An engine with two workers."""

    arguments: dict[str, Any]  # of fitness.gymnasium
    pids: Callable[[Any], list[int]]  # of its workers, given the fitness


@contextmanager
def ours() -> Iterator[Engine]:
    yield Engine({"workers": 2}, lambda evaluate: [each.process.pid for each in evaluate.player.pool.workers])


@contextmanager
def processes() -> Iterator[Engine]:
    executor = partial(ProcessPoolExecutor, 2, mp_context=multiprocessing.get_context("spawn"))
    yield Engine({"executor": executor}, lambda evaluate: list(evaluate.player.executor._processes))


@contextmanager
def dask() -> Iterator[Engine]:
    import distributed

    security = distributed.Security.temporary()
    closed = {"dashboard_address": "127.0.0.1:0", "protocol": "tls", "security": security}
    local = distributed.LocalCluster(n_workers=2, threads_per_worker=1, **closed)
    with local, distributed.Client(local) as client:
        yield Engine({"executor": client.get_executor}, lambda _: list(client.run(os.getpid).values()))


def workers_of_ray(_: Any) -> list[int]:
    names = {p.pid: p.cmdline()[:1] for p in psutil.Process().children(recursive=True)}
    return [pid for pid, name in names.items() if name and name[0].startswith("ray::") and "Agent" not in name[0]]


@contextmanager
def ray() -> Iterator[Engine]:
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80 << 20)
    try:
        yield Engine({"executor": RayExecutor}, workers_of_ray)
    finally:
        ray.shutdown()


@contextmanager
def two_nodes_of_dask() -> Iterator[tuple[dict[str, Any], Callable[[], None]]]:
    """What an evaluation needs to use them, and what kills one of them: the worker and the nanny that minds it."""
    import distributed

    made = distributed.Security.temporary()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ends:
        cert, key = Path(folder, "cert.pem"), Path(folder, "key.pem")
        cert.write_text(made.tls_client_cert)
        key.write_text(made.tls_client_key)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        address = f"tls://127.0.0.1:{port}"

        def start(*command: str) -> subprocess.Popen:
            tls = ["--tls-ca-file", cert, "--tls-cert", cert, "--tls-key", key, "--protocol", "tls"]
            quiet = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0", "--host", "127.0.0.1"]
            null = subprocess.DEVNULL
            command = [sys.executable, "-m", *command, *tls, *quiet]
            made = subprocess.Popen(command, stdout=null, stderr=null, start_new_session=True, cwd=folder)
            ends.callback(made.wait)
            ends.callback(kill, made)
            return made

        def kill(node: subprocess.Popen) -> None:
            with suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)

        start("distributed.cli.dask_scheduler", "--port", port)
        nodes = [start("distributed.cli.dask_worker", address, "--nthreads", "1", "--nworkers", "1") for _ in "12"]
        with distributed.Client(address, security=made, timeout=60) as client:
            client.wait_for_workers(2, 60)
            yield {"executor": client.get_executor}, partial(kill, nodes[1])


@contextmanager
def two_nodes_of_ray() -> Iterator[tuple[dict[str, Any], Callable[[], None]]]:
    """The same of Ray, beside a head that does no work."""
    import ray
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": 80 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False} | memory)
    try:
        nodes = [cluster.add_node(num_cpus=1, **memory) for _ in "12"]
        ray.init(address=cluster.address, log_to_driver=False)
        yield {"executor": RayExecutor}, lambda: cluster.remove_node(nodes[1], allow_graceful=False)
    finally:
        ray.shutdown()
        cluster.shutdown()


ENGINES = {"ours": ours, "processes": processes, "dask": dask, "ray": ray}
NODES = {"dask": two_nodes_of_dask, "ray": two_nodes_of_ray}
PACKAGES = {"dask": "distributed", "ray": "ray"}


def needed(package: str, seen: set[str]) -> set[str]:
    """A package and all that it needs, by name."""
    if package not in seen:
        seen.add(package)
        for requirement in map(Requirement, distribution(package).requires or []):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                needed(requirement.name.lower().replace("_", "-"), seen)
    return seen


def megabytes(package: str) -> float:
    """What installing a package adds to neuralmutator, MB."""
    added = needed(package, set()) - needed("neuralmutator", set())
    files = [file.locate() for name in added for file in distribution(name).files or []]
    return sum(os.path.getsize(file) for file in files if os.path.exists(file)) / 1e6


def amid(seconds: float, kill: Callable[[], None], evaluate: Callable[[], None]) -> float:
    """Seconds of an evaluation amid which something is killed."""
    timer = threading.Timer(seconds, kill)
    timer.start()
    taken = timed(evaluate)
    timer.join()
    return taken


def timed(function: Callable[[], Any]) -> float:
    """Seconds of a call."""
    clock = time.perf_counter()
    function()
    return time.perf_counter() - clock


class Task(NamedTuple):
    """An environment, a population, and what it is worth there, by this process."""

    env: str
    policy: nm.networks.Network
    population: nm.Genome
    values: np.ndarray
    steps: int

    def check(self, evaluate: nm.fitness.host.HostFitness) -> None:
        """Evaluates; it must give the same bits."""
        values, info = evaluate(KEY, self.population)
        assert values.tobytes() == self.values.tobytes() and info["env_steps"] == self.steps, values


def task(env: str, size: int, cut: dict[str, int]) -> Task:
    """The population that evolution would start with."""
    policy = nm.networks.mlp(*SIZES[env], hidden=(64,))
    evolution = nm.evolution(policy, nm.mutators.gaussian(), population_size=size)
    population = evolution.init(jax.random.key(0)).population
    with nm.fitness.gymnasium(env, policy, **cut) as evaluate:
        values, info = evaluate(KEY, population)
    return Task(env, policy, population, values, info["env_steps"])


def cost_of_a_kill(engine: Engine, evaluate: Any, check: Callable[[], None], usual: float) -> float:
    """Seconds more, over the evaluation amid which a worker is killed and the five after it."""
    pid = engine.pids(evaluate)[0]
    taken = amid(usual / 2, lambda: os.kill(pid, signal.SIGKILL), check) + sum(timed(check) for _ in range(AFTER))
    return taken - (1 + AFTER) * usual


def compare(task: Task, names: list[str], options: Options, cut: dict[str, int]) -> tuple[dict[str, float], list]:
    """Our processes' seconds beside those of each engine; rows of the table."""
    with ExitStack() as running:
        engines, evaluates, checks, starts = {}, {}, {}, {}
        for name in names:
            clock = time.perf_counter()
            engines[name] = running.enter_context(ENGINES[name]())
            made = nm.fitness.gymnasium(task.env, task.policy, **cut, **engines[name].arguments)
            evaluates[name] = running.enter_context(made)
            checks[name] = partial(task.check, made)
            checks[name]()
            starts[name] = time.perf_counter() - clock
        seconds = interleave({name: Program(check, (), 0.0) for name, check in checks.items()}, options.rounds)
        usual = {name: median(each) for name, each in seconds.items()}
        memory = {
            name: median(psutil.Process(pid).memory_full_info().uss for pid in engine.pids(evaluates[name])) / 2**20
            for name, engine in engines.items()
        }
        kills = {}
        for name, engine in engines.items():
            costs = [cost_of_a_kill(engine, evaluates[name], checks[name], usual[name]) for _ in range(options.kills)]
            kills[name] = median(costs)
    rows = [
        (
            f"{task.env}, {name}",
            1 / usual[name],
            task.steps / usual[name],
            speed(seconds, name, "ours"),
            starts[name] - usual[name],
            memory[name],
            kills[name],
        )
        for name in names
    ]
    return {f"{name}, {task.env}": speed(seconds, name, "ours") for name in names}, rows


def lose_a_node(name: str, task: Task, cut: dict[str, int]) -> tuple:
    """A row: seconds of an evaluation on two nodes, of one amid which one of them is killed, and of the next."""
    with ExitStack() as running:
        arguments, kill = running.enter_context(NODES[name]())
        made = running.enter_context(nm.fitness.gymnasium(task.env, task.policy, **cut, **arguments))
        check = partial(task.check, made)
        check()
        usual = median(timed(check) for _ in range(5))
        return f"{task.env}, {name}", usual, amid(usual / 2, kill, check), timed(check)


def main(options: Options) -> None:
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex()}
    missing = [name for name, package in PACKAGES.items() if importlib.util.find_spec(package) is None]
    for name in missing:
        print(f"{name} is left out: {PACKAGES[name]} is not installed")
    names = [name for name in ENGINES if name not in missing]
    cut = {"episodes": options.episodes, "num_envs": options.num_envs}
    tasks = [task(env, options.population, cut) for env in SIZES]
    ratios, rows = {}, []
    for each in tasks:
        found, more = compare(each, names, options, cut)
        ratios |= found
        rows += more
    title = f"{options.population} members, {options.episodes} episodes each, two workers"
    columns = ("environment, engine", "evaluations/s", "steps/s", "ratio", "start s", "MiB/worker", "killed s")
    table(title, columns, rows)
    nodes = [lose_a_node(name, tasks[-1], cut) for name in NODES if name in names]
    table("One of two nodes is killed", ("environment, engine", "usual s", "killed s", "next s"), nodes)
    packages = [(name, PACKAGES[name]) for name in PACKAGES if name in names]
    sizes = [(name, distribution(package).version, megabytes(package)) for name, package in packages]
    table("What an engine adds to the installation", ("engine", "version", "MB"), sizes)
    finish(ratios, at_least={name: FLOOR for name in ratios if not name.startswith("ours")})


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
