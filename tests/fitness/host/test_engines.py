"""Host fitness on Dask and on Ray, where they are installed: deaths change nothing, and strangers stay out."""

import os
import signal
import socket
import ssl
import subprocess
import sys
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial

import cloudpickle
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import fitness, networks
from neuralmutator.core import Genome

# What is made here must reach a worker without this module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

KEY = jax.random.key(5)
POLICY = networks.mlp(4, 2, (8,))
POPULATION = Genome(
    jnp.asarray(np.random.default_rng(9).normal(size=(7, POLICY.num_params)), jnp.float32),
    jnp.zeros((7, 0)),
    jnp.zeros((7, 0)),
    jnp.zeros((7, 0), jnp.int32),
    jnp.zeros(7),
)
cartpole = partial(fitness.gymnasium, policy=POLICY, episodes=3, num_envs=5)


class Deadly(gymnasium.Wrapper):
    """Kills, in its twelfth step, a process and its whole session; but only once, whoever comes first."""

    steps = 0

    def __init__(self, env, folder, kill):
        super().__init__(env)
        self.folder, self.kill = folder, kill

    def step(self, action):
        self.steps += 1
        if self.steps == 12 and self.folder is not None:
            try:
                os.mkdir(self.folder)
            except FileExistsError:
                return self.env.step(action)
            self.kill()
        return self.env.step(action)


def kill_myself():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_my_node():
    """Everything that was started together: the worker, and the nanny that would start it again."""
    os.killpg(0, signal.SIGKILL)


def deadly(folder, kill):
    return lambda: Deadly(gymnasium.make("CartPole-v1"), folder, kill)


@pytest.fixture(scope="module")
def alone():
    with cartpole("CartPole-v1") as evaluate:
        values, info = evaluate(KEY, POPULATION)
    assert len(set(values.tolist())) > 2
    return values.tolist(), info["env_steps"]


CLOSED = {"DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES": "[]", "DASK_DISTRIBUTED__WORKER__HTTP__ROUTES": "[]"}


@pytest.fixture(scope="module")
def dask_cluster(tmp_path_factory):
    """Two nodes of Dask on this machine as the guide starts them: client, the certificate's folder, process ids."""
    distributed = pytest.importorskip("distributed")
    pytest.importorskip("cryptography")
    folder = tmp_path_factory.mktemp("dask")
    made = distributed.Security.temporary()
    (folder / "cert.pem").write_text(made.tls_client_cert)
    (folder / "key.pem").write_text(made.tls_client_key)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    common = ["--tls-ca-file", cert, "--tls-cert", cert, "--tls-key", key, "--no-dashboard"]
    common += ["--dashboard-address", "127.0.0.1:0", "--host", "127.0.0.1"]
    address = f"tls://127.0.0.1:{port}"

    def start(*command):
        command = [sys.executable, "-m", *command, *common]
        with open(folder / "log", "a") as log:
            return subprocess.Popen(
                command, env=os.environ | CLOSED, stderr=log, stdout=log, start_new_session=True, cwd=folder
            )

    worker = ("distributed.cli.dask_worker", address, "--nthreads", "1", "--nworkers", "1", "--protocol", "tls")
    nodes = [start("distributed.cli.dask_scheduler", "--port", str(port), "--protocol", "tls")]
    nodes += [start(*worker) for _ in range(2)]
    security = distributed.Security(tls_ca_file=cert, tls_client_cert=cert, tls_client_key=key, require_encryption=True)
    try:
        with distributed.Client(address, security=security, timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
            yield client, address, [node.pid for node in nodes]
    finally:
        for node in nodes:
            with suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)
            node.wait()


def listening(pids):
    """Addresses that these processes and their children listen on."""
    psutil = pytest.importorskip("psutil")
    family = {psutil.Process(pid) for pid in pids}
    family |= {child for parent in family for child in parent.children(recursive=True)}
    connections = [each for process in family for each in process.net_connections("inet")]
    hosts = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    return sorted({(hosts.get(c.laddr.ip, c.laddr.ip), c.laddr.port) for c in connections if c.status == "LISTEN"})


def answer_in_clear(address, words):
    """What comes back from a port to someone who says `words` without any secret."""
    with socket.create_connection(address, timeout=10) as connection:
        try:
            connection.sendall(words)
            return connection.recv(1 << 16)
        except ConnectionError:
            return b""


def answer_in_tls(address, words):
    """The same over TLS, without a certificate; None if nothing there speaks TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(address, timeout=3) as connection:
        try:
            with context.wrap_socket(connection) as secure:
                secure.sendall(words)
                return secure.recv(1 << 16)
        except TimeoutError:
            return None
        except (ssl.SSLError, ConnectionError):
            return b""


JOINING = """
import sys
import distributed
for security in (None, distributed.Security.temporary()):
    for address in (sys.argv[1], sys.argv[1].replace("tls", "tcp")):
        try:
            distributed.Client(address, security=security, timeout=5)
        except (OSError, TypeError, RuntimeError):
            print("out")
        else:
            print("in")
"""


@pytest.mark.slow
def test_strangers_are_refused_at_every_port_of_dask(dask_cluster):
    """Those that speak HTTP have nothing to tell: Dask has no key to them, so their pages are taken away."""
    _, address, pids = dask_cluster
    ports = listening(pids)
    assert len(ports) >= 8  # scheduler, two nannies, two workers, and the three HTTP servers of all but the nannies
    http = 0
    for port in ports:
        for path in (b"/", b"/health", b"/metrics", b"/info/main/workers.html", b"/json/counts.json", b"/api/v1"):
            reply = answer_in_clear(port, b"GET " + path + b" HTTP/1.0\r\n\r\n")
            assert reply == b"" or reply.startswith(b"HTTP/1.1 404"), (port, path, reply)
        http += reply != b""
        assert answer_in_tls(port, b"GET /health HTTP/1.0\r\n\r\n") == (None if reply else b""), port
    assert http == 3
    said = subprocess.run([sys.executable, "-c", JOINING, address], capture_output=True, text=True, timeout=120)
    assert said.stdout.split() == ["out"] * 4, said


@pytest.mark.slow
def test_dask_changes_nothing_even_if_a_worker_or_a_node_is_killed(dask_cluster, alone, tmp_path):
    client, _, _ = dask_cluster
    for name, kill in (("quiet", None), ("worker", kill_myself), ("node", kill_my_node)):
        folder = str(tmp_path / name)
        with cartpole(deadly(folder if kill else None, kill), executor=client.get_executor, max_steps=500) as evaluate:
            values, info = evaluate(KEY, POPULATION)
        assert (values.tolist(), info["env_steps"]) == alone
        assert os.path.exists(folder) == (kill is not None)
    client.wait_for_workers(1, timeout=30)
    assert len(client.scheduler_info()["workers"]) == 1


@pytest.mark.slow
def test_ray_changes_nothing_if_a_worker_is_killed_and_lets_nobody_in_without_its_token(alone, tmp_path, monkeypatch):
    """Ray's own port of metrics is open to everybody, and not asked here."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-this-test-" * 4)
    ray = pytest.importorskip("ray")  # which looks at them now

    class RayExecutor(Executor):
        def __init__(self):
            self.call = ray.remote(num_cpus=1, max_retries=3)(lambda function, *arguments: function(*arguments))

        def submit(self, function, /, *arguments):
            return self.call.remote(function, *arguments).future()

    context = ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80 << 20)
    try:
        folder = str(tmp_path / "worker")
        with cartpole(deadly(folder, kill_myself), executor=RayExecutor, max_steps=500) as evaluate:
            values, info = evaluate(KEY, POPULATION)
        assert (values.tolist(), info["env_steps"]) == alone and os.path.exists(folder)
        joining = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False); print('in')"
        for token, wanted in (("of-this-test-" * 4, True), ("of-another-one" * 4, False), (None, False)):
            changed = {"RAY_AUTH_TOKEN": token} if token else {"RAY_AUTH_MODE": "disabled"}
            address = context.address_info["gcs_address"]
            joined = subprocess.run(
                [sys.executable, "-c", joining, address],
                env=os.environ | changed,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert ("in" in joined.stdout.split()) == wanted == (joined.returncode == 0), joined.stderr[-500:]
    finally:
        ray.shutdown()
