import json
import os
import subprocess
import sys

import pytest

from neuralmutator.runs.cache import cache_folder


@pytest.mark.skipif(sys.platform != "linux", reason="the convention of Linux")
def test_the_cache_is_where_the_user_keeps_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "neuralmutator" / "jax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "neuralmutator" / "jax"


PROGRAM = """
import json, jax
from neuralmutator.runs.cache import use_cache
use_cache()
jax.jit(lambda x: jax.numpy.linalg.cholesky(x @ x) + 1)(jax.numpy.eye(40)).block_until_ready()
print(json.dumps(jax.config.values["jax_enable_compilation_cache"]))
"""


@pytest.mark.parametrize("case", ["own folder", "folder of JAX", "off"])
def test_compiled_programs_are_kept_where_the_user_wants_them(tmp_path, case):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "own"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    if case == "folder of JAX":
        environment["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / "jax")
    if case == "off":
        environment["NEURALMUTATOR_COMPILATION_CACHE"] = "0"
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    kept = {name for name in ("own", "jax") if list((tmp_path / name).rglob("*cache*"))}
    assert kept == {"own folder": {"own"}, "folder of JAX": {"jax"}, "off": set()}[case]
    assert json.loads(done.stdout) == (case != "off")
