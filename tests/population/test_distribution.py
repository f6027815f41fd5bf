"""A population on several devices, in a process of their own: that of the tests has a single device."""

import hashlib
import socket
import subprocess
import sys
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import multihost_utils
from jax.sharding import Mesh

import neuralmutator as nm

MEMBERS = 32


def own_fitness():
    policy = nm.networks.mlp(1, 1, (8,))

    def fitness(key, genome):
        x = jax.random.uniform(key, (16, 1))
        return -jnp.mean((jax.vmap(policy.apply, (None, 0))(genome.policy, x) - jnp.sin(x)) ** 2)

    mutator = nm.mutators.remembering(policy)
    return nm.evolution(policy, mutator, fitness, population_size=MEMBERS, common_random_numbers=False)


def normalised():
    policy = nm.networks.normalised(nm.networks.mlp(3, 1, (8,)), 3)
    fitness = nm.fitness.sharded(nm.fitness.episodes("Pendulum-v1", policy, episodes=2, max_steps=60))
    evolution = nm.evolution(policy, nm.mutators.gaussian(0.1), fitness, population_size=MEMBERS)
    return nm.normalise_observations(nm.hall_of_fame(evolution, fitness), policy)


def speciated():
    policy = nm.networks.mlp(4, 2, (8,))
    fitness = nm.fitness.episodes("CartPole-v1", policy, episodes=2, max_steps=100)
    species = nm.speciation.learned(warm_start_steps=5)
    evolution = nm.evolution(
        policy, nm.mutators.dual_mixture(), fitness, population_size=MEMBERS, crossover_rate=0.5, species=species
    )
    return nm.track_founders(nm.hall_of_fame(evolution, fitness))


def flexible():
    policy = nm.networks.flexible_mlp(4, 2, max_width=16, initial_widths=(8,))
    fitness = nm.fitness.episodes("CartPole-v1", policy, episodes=2, max_steps=100)
    evolution = nm.evolution(
        policy, nm.mutators.gaussian(0.1), fitness, population_size=MEMBERS, structural_rate=0.3, complexity_cost=0.01
    )
    return nm.hall_of_fame(evolution, fitness)


def archipelago():
    """Islands of different step sizes; with two migrations in four generations."""
    policy = nm.networks.mlp(4, 2, (8,))
    fitness = nm.fitness.sharded(nm.fitness.episodes("CartPole-v1", policy, episodes=2, max_steps=100))

    def island(std):
        return nm.evolution(policy, nm.mutators.gaussian(std), population_size=MEMBERS // 4, elites=1)

    settings = jnp.geomspace(0.1, 1, 4)
    islands = nm.islands(island, fitness, settings=settings, migrate_every=2, migrants=2, topology="random")
    return nm.track_founders(nm.hall_of_fame(islands, fitness))


MADE = {function.__name__: function for function in (own_fitness, normalised, speciated, flexible, archipelago)}


def compare(name, numbers=(1, 2, 4)):
    jax.config.update("jax_num_cpu_devices", 4)
    found = {}
    for number in numbers:
        mesh = Mesh(np.array(jax.devices()[:number]), ("members",))
        evolution = nm.distribute(MADE[name](), mesh)
        state, history = nm.run(evolution, jax.random.key(3), 4)
        assert jax.jit(evolution.init)(jax.random.key(0)).population.policy.sharding.num_devices == number
        champion = jax.jit(evolution.best)(state)
        if number > 1 and name == "own_fitness":
            goes_on_alone(evolution)
        found[number] = jax.device_get((state, history.fitness, history.parents, champion, history.metrics))
    assert len(np.unique(found[1][1])) > MEMBERS
    for number in numbers[1:]:
        jax.tree.map(np.testing.assert_array_equal, found[1][:-1], found[number][:-1])
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found[1][-1], found[number][-1])


def goes_on_alone(evolution):
    """Step by step, and as a run in a folder that is cut and goes on, it is as in one program."""
    # Imported here: it makes the devices, which there are four of by then.
    from neuralmutator.runs.evolve import from_evolution
    from neuralmutator.runs.folder import RunFolder
    from neuralmutator.runs.runner import execute

    state = jax.jit(evolution.init)(jax.random.split(jax.random.key(3))[0])
    for t in range(4):
        state, _ = jax.jit(evolution.step)(jax.random.fold_in(jax.random.split(jax.random.key(3))[1], t), state)
    whole, _ = nm.run(evolution, jax.random.key(3), 4)
    with tempfile.TemporaryDirectory() as folder:
        for generations in (2, 4):
            run = from_evolution(evolution, jax.random.key(3), generations)
            execute(run, f"{folder}/run", resume=generations == 4)
        kept = RunFolder(f"{folder}/run").restore(jax.eval_shape(lambda: whole))[1]
    for other in (state, kept):
        jax.tree.map(np.testing.assert_array_equal, jax.device_get(whole), jax.device_get(other))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name != "own_fitness" else []) for name in MADE]
)
def test_a_run_has_the_same_bits_on_one_two_and_four_devices(name):
    done = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def one_of_several(name, index, processes, port):
    """A process of several, with one device each; prints what the run came to, whoever computed which part of it."""
    jax.config.update("jax_num_cpu_devices", 1)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", processes, index)
    assert len(jax.devices()) == processes
    state, history = nm.run(nm.distribute(MADE[name]()), jax.random.key(3), 4)
    whole = multihost_utils.process_allgather((state, history.fitness, history.parents), tiled=True)
    print(digest(whole))


def digest(tree):
    return hashlib.sha256(b"".join(np.asarray(x).tobytes() for x in jax.tree.leaves(tree))).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_a_run_has_the_same_bits_in_several_processes(processes):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, __file__, "own_fitness"]
    started = [
        subprocess.Popen([*command, str(i), str(processes), str(port)], stdout=subprocess.PIPE, text=True)
        for i in range(processes)
    ]
    printed = [process.communicate()[0].splitlines()[-1] for process in started]
    state, history = nm.run(own_fitness(), jax.random.key(3), 4)
    assert printed == [digest((state, history.fitness, history.parents))] * processes


def test_on_one_device_it_is_the_evolution_itself():
    evolution = own_fitness()
    assert nm.distribute(evolution, Mesh(np.array(jax.devices()[:1]), ("x",))) is evolution


def test_what_is_refused():
    program = """
import jax, numpy as np
jax.config.update("jax_num_cpu_devices", 6)
from jax.sharding import Mesh
import neuralmutator as nm
policy = nm.networks.mlp(1, 1, (2,))
evolution = nm.evolution(policy, nm.mutators.gaussian(), lambda key, genome: genome.policy[0], population_size=8)
islands = nm.islands(nm.evolution(policy, nm.mutators.gaussian(), population_size=6), number=4)
line, square = Mesh(np.array(jax.devices()), ("members",)), Mesh(np.array(jax.devices()).reshape(2, 3), ("a", "b"))
for spread, mesh in ((evolution, line), (evolution, square), (islands, line)):
    try:
        nm.distribute(spread, mesh)
    except ValueError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "population_size must be a multiple of the 6 devices of the mesh, got 8",
        "mesh must have one axis, got ('a', 'b')",
        "number of islands must be a multiple of the 6 devices of the mesh, got 4",
    ]


if __name__ == "__main__":
    if len(sys.argv) > 2:
        one_of_several(sys.argv[1], *map(int, sys.argv[2:]))
    else:
        compare(sys.argv[1], (1, 4) if sys.argv[1] == "own_fitness" else (1, 2, 4))
