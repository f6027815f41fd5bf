"""Evolves in Gymnasium on the processes of this machine, or on a cluster of Dask or Ray that is there already.

python examples/cluster.py
ENGINE=dask ADDRESS=tls://scheduler:8786 python examples/cluster.py   # cert.pem and key.pem are in this folder
ENGINE=ray ADDRESS=head:6379 RAY_AUTH_MODE=token RAY_AUTH_TOKEN=... python examples/cluster.py
"""

import multiprocessing
import os
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial

import jax

import neuralmutator as nm


class RayExecutor(Executor):
    """Ray's tasks by Python's own interface. Ray tries a task again whose worker or machine dies."""

    def __init__(self):
        import ray

        self.call = ray.remote(num_cpus=1, max_retries=3)(lambda function, *arguments: function(*arguments))

    def submit(self, function, /, *arguments):
        """A future of a task."""
        return self.call.remote(function, *arguments).future()


def on_processes(_):
    """Two processes; spawned, since a fork would share the locks of JAX's threads."""
    return partial(ProcessPoolExecutor, 2, mp_context=multiprocessing.get_context("spawn"))


def on_dask(address):
    """Dask, whose scheduler and workers hold the same certificate."""
    from distributed import Client, Security

    secret = {"tls_ca_file": "cert.pem", "tls_client_cert": "cert.pem", "tls_client_key": "key.pem"}
    return Client(address, security=Security(**secret, require_encryption=True)).get_executor


def on_ray(address):
    """Ray, whose token is in the environment."""
    import ray

    ray.init(address=address)
    return RayExecutor


ENGINES = {"processes": on_processes, "dask": on_dask, "ray": on_ray}


def main():
    """Ten generations."""
    policy = nm.networks.mlp(obs=4, act=2)
    inner = nm.evolution(policy, nm.mutators.dual_mixture(), population_size=32)
    executor = ENGINES[os.environ.get("ENGINE", "processes")](os.environ.get("ADDRESS"))
    with nm.fitness.gymnasium("CartPole-v1", policy, executor=executor) as evaluate:
        evolution, key = nm.fitness.on_host(inner, evaluate), jax.random.key(0)
        _, history = nm.fitness.rollout_on_host(evolution.step, key, evolution.init(key), 10)
    for name in ("fitness_best", "fitness_mean"):
        print(name, history.metrics[name].round(1))


if __name__ == "__main__":
    main()
