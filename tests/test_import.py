"""What an import of the library costs others."""

import subprocess
import sys

import neuralmutator as nm

EDGE = (
    *("tyro", "rich", "gymnasium", "matplotlib", "tensorboardX", "orbax", "PIL", "sklearn", "Box2D", "pygame"),
    *("brax", "mujoco"),
)


def loaded_by(program):
    """Modules of the edge that a program loads."""
    code = f"{program}; import sys; print(*[name for name in {EDGE} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_an_import_loads_nothing_of_the_edge():
    assert loaded_by("import neuralmutator") == set()
    used = "nm.evolution; nm.fitness.episodes; nm.nca; nm.quine; nm.mutators; nm.save"
    assert loaded_by(f"import neuralmutator as nm; {used}") <= loaded_by("import gymnax")


def test_every_public_name_is_there():
    for name in nm.__all__:
        assert getattr(nm, name) is not None
    for name in nm.runs.__all__:
        assert getattr(nm.runs, name) is not None
    assert set(nm.__all__) <= set(dir(nm))
