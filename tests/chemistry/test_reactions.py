import numpy as np
import pytest

from neuralmutator.chemistry import all_reactions, conservation_laws, describe, find, network, take


def test_reactions_are_read_and_printed_back():
    found = network("A + B -> 2 B", "B ->", "-> A", "2A<->A+C", "A + A + C -> 3 C")
    assert found.species == ("A", "B", "C")
    np.testing.assert_array_equal(found.reactants, [[1, 1, 0], [0, 1, 0], [0] * 3, [2, 0, 0], [1, 0, 1], [2, 0, 1]])
    np.testing.assert_array_equal(found.products, [[0, 2, 0], [0] * 3, [1, 0, 0], [1, 0, 1], [2, 0, 0], [0, 0, 3]])
    assert found.texts == ("A + B -> 2 B", "B ->", "-> A", "2 A -> A + C", "A + C -> 2 A", "2 A + C -> 3 C")
    again = network(*found.texts)
    np.testing.assert_array_equal(again.stoichiometry, found.stoichiometry)
    np.testing.assert_array_equal(found.stoichiometry[:, 0], [-1, 1, 0])


def test_species_have_the_order_that_is_asked_for():
    found = network("B -> A", species=("A", "B", "C"))
    assert found.species == ("A", "B", "C") and found.reactants.tolist() == [[0, 1, 0]]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ((), "network must have at least one reaction, got none"),
        (("A + B",), "reaction must have one arrow, -> or <->, got 'A + B'"),
        (("A -> B -> C",), "reaction must have one arrow, -> or <->, got 'A -> B -> C'"),
        ((3,), "reaction must have one arrow, -> or <->, got 3"),
        (("A + -> B",), "reaction 'A + -> B' must be made of names and whole numbers, got ''"),
        (("0.5 A -> B",), "reaction '0.5 A -> B' must be made of names and whole numbers, got '0.5 A'"),
        (("0 A -> B",), "reaction '0 A -> B' must have at least one molecule of what it names, got 0"),
        (("A + B -> B + A",), "reaction must change something, got 'A + B -> B + A'"),
        (("->",), "reaction must change something, got '->'"),
        (("A <-> B", "B -> A"), "reactions must differ, got 'B -> A' twice"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_line(texts, said):
    with pytest.raises(ValueError) as error:
        network(*texts)
    assert str(error.value) == said


def test_unknown_and_bad_species_are_refused():
    with pytest.raises(ValueError, match=r"reaction 'A -> D' must have species of A, B, got D"):
        network("A -> D", species="AB")
    with pytest.raises(ValueError, match=r"species must differ, got A twice"):
        network("A -> B", species="ABA")
    with pytest.raises(ValueError, match=r"species must be names that begin with a letter, got '2'"):
        all_reactions(("A", "2"))
    with pytest.raises(ValueError, match=r"species must have at least one name, got none"):
        all_reactions(())


@pytest.mark.parametrize(
    ("species", "order", "conserve", "count"),
    # complexes of up to 2 of n species: 1 + n + n (n + 1) / 2; of exactly 1 and 2: n and n (n + 1) / 2
    [("ABC", 2, False, 10 * 9), ("ABC", 2, True, 3 * 2 + 6 * 5), ("AB", 1, False, 3 * 2), ("AB", 3, False, 10 * 9)],
)
def test_candidates_are_all_pairs_of_complexes(species, order, conserve, count):
    found = all_reactions(species, order, conserve)
    assert len(set(found.texts)) == len(found.texts) == count
    assert (found.reactants.sum(axis=1) <= order).all() and (found.products.sum(axis=1) <= order).all()
    assert (found.stoichiometry.any(axis=0)).all()
    assert not conserve or (found.stoichiometry.sum(axis=0) == 0).all()


def test_reactions_are_found_and_taken():
    candidates = all_reactions("AB")
    numbers = find(candidates, "A -> B", "A + B -> 2 B")
    assert take(candidates, numbers).texts == ("A -> B", "A + B -> 2 B")
    assert take(candidates, np.isin(np.arange(len(candidates.texts)), numbers)).species == ("A", "B")
    with pytest.raises(ValueError, match="reaction must be one of the network's 30, got '3 A -> B'"):
        find(candidates, "3 A -> B")


def test_conservation_laws_are_those_that_chemists_write():
    laws = conservation_laws(network("E + S <-> ES", "ES -> E + P", species=("E", "S", "ES", "P")))
    assert laws.shape == (2, 4)
    known = np.array([[1, 0, 1, 0], [0, 1, 1, 1]])  # enzyme; substrate
    assert np.linalg.matrix_rank(np.vstack([laws, known])) == 2
    assert conservation_laws(network("A -> 2 A", "A + B -> 2 B", "B ->")).shape == (0, 2)
    assert conservation_laws(network("3 A -> 2 B")).tolist() == [[2, 3]]


def test_laws_are_the_left_null_space():
    random = np.random.default_rng(0)
    candidates = all_reactions("ABCD")
    for _ in range(20):
        chosen = take(candidates, random.choice(len(candidates.texts), 3, replace=False))
        laws = conservation_laws(chosen)
        assert len(laws) == 4 - np.linalg.matrix_rank(chosen.stoichiometry)
        assert not laws.size or not (laws @ chosen.stoichiometry).any()


def test_a_list_of_reactions_begins_with_the_fastest():
    reactions = network("A -> B", "2 B -> A", "B ->")
    assert describe(reactions, [0.1, 2.0, 0.0], least=0.0) == "2 B -> A  2\nA -> B    0.1"
    for rates, said in (
        ([1, -2, 0], "rates must be finite and at least 0, got -2 for '2 B -> A'"),
        ([1, 2, np.inf], "rates must be finite and at least 0, got inf for 'B ->'"),
        ([1], r"rates must have shape (3,), one a reaction, got (1,)"),
    ):
        with pytest.raises(ValueError) as error:
            describe(reactions, rates)
        assert str(error.value) == said
