import importlib.util
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_an_older_cax_is_left_out(tmp_path, monkeypatch, capsys):
    """Version 0.3.3 as installed on Python 3.11, whose kernels take other arguments."""
    package = tmp_path / "cax" / "core"
    for name in ("perceive", "update"):
        (package / name).mkdir(parents=True)
    (tmp_path / "cax" / "__init__.py").touch()
    (package / "__init__.py").write_text("class ComplexSystem: ...")
    (package / "perceive" / "__init__.py").write_text(
        "class ConvPerceive:\n    def __init__(self, **_): ...\n"
        "def identity_kernel(ndim): ...\ndef grad_kernel(ndim): ..."
    )
    (package / "update" / "__init__.py").write_text("class NCAUpdate:\n    def __init__(self, **_): ...")
    (tmp_path / "cax-0.3.3.dist-info").mkdir()
    (tmp_path / "cax-0.3.3.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: cax\nVersion: 0.3.3\n")
    for name in [name for name in sys.modules if name.split(".")[0] == "cax"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.syspath_prepend(tmp_path)
    spec = importlib.util.spec_from_file_location("nca_benchmark", BENCHMARKS / "nca.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "nca_benchmark", module)  # which its dataclass looks up
    spec.loader.exec_module(module)
    assert module.cax() is None
    said = capsys.readouterr().out
    assert "CAX 0.3.3 is left out" in said and said.count("\n") == 1
