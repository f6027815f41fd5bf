import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import networks

KEY = jax.random.key(0)


def test_a_genome_of_another_policy_is_refused(genome_of):
    with pytest.raises(ValueError, match=r"the policy's 44 parameters, got \(10,\)"):
        networks.policy_step(networks.mlp(3, 4, (5,)), genome_of(jnp.zeros(10)))


def test_layer_outputs_end_with_the_output_whatever_the_kind(start, genome_of):
    x = jnp.ones(3)
    for network, topology in (
        (networks.mlp(3, 2, (5,)), ()),
        (networks.recurrent(3, 2, 4), ()),
        (networks.flexible_mlp(3, 2), (8, 9)),
        (networks.normalised(networks.recurrent(3, 2, 4), 3), ()),
    ):
        genome = genome_of(start(network), topology)
        _, output = networks.policy_step(network, genome)(network.initial_state, x)
        *hidden, last = networks.layer_outputs(network, genome)(network.initial_state, x)
        assert hidden
        np.testing.assert_array_equal(last, output)


def test_a_memory_that_changes_its_kind_is_refused():
    network = networks.from_functions(
        lambda key: jnp.zeros(2),
        lambda params, inputs: (inputs[0].astype(jnp.int32), params),
        initial_state=jnp.zeros(1),
    )
    with pytest.raises(ValueError, match=r"policy must return a memory like its initial_state .*float32.*int32"):
        networks.check_fit(network, "here", (1,), 2)


def test_convolutions_are_found():
    assert networks.convolves(networks.cnn(3), (96, 96, 3), jnp.uint8)
    assert not networks.convolves(networks.cnn(3, (10, 10, 4)), (10, 10, 4), jnp.float32)


@pytest.mark.parametrize("kind", ["mlp", "recurrent", "flexible", "cnn"])
def test_networks_are_f32_where_floats_have_64_bits(kind):
    """Their first parameters are those of 32 bits, and they fit an observation of 64."""
    make, shape = {
        "mlp": (lambda: networks.mlp(3, 2), (3,)),
        "recurrent": (lambda: networks.recurrent(3, 2), (3,)),
        "flexible": (lambda: networks.flexible_mlp(3, 2), (3,)),
        "cnn": (lambda: networks.cnn(2, (6, 6)), (6, 6)),
    }[kind]
    want = jax.jit(make().init)(KEY)
    with jax.enable_x64(True):
        network = make()
        got = jax.jit(network.init)(KEY)
        networks.check_fit(network, "here", shape, 2)
    assert got.dtype == jnp.float32
    np.testing.assert_array_equal(got, want)
