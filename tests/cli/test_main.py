import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from gymnax import register
from gymnax.environments.classic_control.cartpole import CartPole

from neuralmutator.cli.main import main, parse
from neuralmutator.runs import presets
from neuralmutator.runs.folder import RunFolder

FAST = (
    "--population-size 6 --generations 2 --episodes 1 --max-steps 10 --elites 1 --hall 0 --no-speciation "
    "--mutator gaussian --policy.kind mlp --policy.hidden 4 --quiet --test-episodes 3"
).split()


class BrokenPole(CartPole):
    """Pays NaN."""

    def step_env(self, key, state, action, params):
        observation, state, reward, done, info = super().step_env(key, state, action, params)
        return observation, state, reward * jnp.nan, done, info


@pytest.fixture(scope="module", autouse=True)
def broken_pole():
    """Not at import: other tests go over all environments that are registered when they are collected."""
    register("BrokenPole-v0", BrokenPole)


def complaint(capsys, *argv) -> str:
    """The one line that a bad call prints; asserts exit status 2."""
    assert main([str(arg) for arg in argv]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("neuralmutator: ") and printed.count("\n") == 1, printed
    assert "Traceback" not in printed and len(printed) < 2000
    return printed


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["evolve", "CartPole-v1", "--output", str(folder), *FAST]) == 0
    return folder


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "copy")


def tree(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_evolve_leaves_a_run_and_says_what_the_champion_is_worth(run):
    names = {path.name for path in run.iterdir()}
    assert {"config.json", "metrics.jsonl", "checkpoints", "champion.npz", "result.json", "training.png"} <= names
    result = json.loads((run / "result.json").read_text())
    assert result["generations"] == 2 and result["test_episodes"] == 3 and 1 <= result["champion_mean"] <= 10


def test_evaluate_plays_the_champion_in_both_worlds(run, capsys):
    for world in ([], ["--gymnasium"]):
        assert main(["evaluate", str(run), "--episodes", "4", *world]) == 0
        printed = capsys.readouterr().out
        assert "4 episodes" in printed and "95 % interval" in printed and "min" in printed


@pytest.mark.parametrize("world", [[], ["--gymnasium"]], ids=["gymnax", "gymnasium"])
def test_evaluate_refuses_what_says_nothing(copy, world, capsys):
    assert "seed must be" in complaint(capsys, "evaluate", copy, "--seed", "-1", *world)
    folder = RunFolder(copy)
    champion = folder.load_champion()
    broken = np.array(champion.policy)
    broken[:2] = np.nan, np.inf
    folder.save_champion(champion._replace(policy=broken))
    assert "holds a policy with parameters that are not finite" in complaint(capsys, "evaluate", copy, *world)


def test_evaluate_claims_no_interval_for_one_episode(run, capsys):
    assert main(["evaluate", str(run), "--episodes", "1", "--gymnasium"]) == 0
    assert "interval" not in capsys.readouterr().out


@pytest.mark.parametrize("world", [[], ["--gymnasium"]])
def test_evaluate_with_another_time_limit(run, world, capsys):
    assert main(["evaluate", str(run), "--episodes", "4", "--max-steps", "3", *world]) == 0
    assert "mean 3.00 ± 0.00" in capsys.readouterr().out


def test_plot_of_one_run_and_of_several(run, tmp_path, capsys):
    for runs in ([run], [run, run]):
        picture = tmp_path / f"{len(runs)}.png"
        assert main(["plot", *map(str, runs), "--output", str(picture)]) == 0
        assert picture.stat().st_size > 10_000


def test_replay_makes_a_film(run, tmp_path):
    assert main(["replay", str(run), "--max-steps", "5", "--output", str(tmp_path / "film.mp4")]) == 0
    assert (tmp_path / "film.mp4").stat().st_size > 1000


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evolve", "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    for option in ("population-size", "generations", "episodes", "mutator", "no-speciation", "crossover-rate"):
        assert f"--{option}" in printed
    for option in ("complexity-cost", "seed", "output", "resume", "preset", "policy.max-width"):
        assert f"--{option}" in printed


@pytest.mark.parametrize("name", ["original", "strict", "speciated"])
def test_presets_change_the_defaults(name, capsys):
    shown = []
    for arguments in (["--preset", name], [f"--preset={name}"], []):
        with pytest.raises(SystemExit):
            main(["evolve", *arguments, "--help"])
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] != shown[2]
    scale = presets.by_name[name].mutation.gauss_scale
    assert scale != presets.default.mutation.gauss_scale
    about = shown[0].split("--mutation.gauss-scale")[1].split("--")[0]
    assert f"(default: {scale})" in " ".join(about.replace("│", " ").split())


def test_an_unknown_option_is_said_once(capsys):
    assert complaint(capsys, "plot", "run", "--nope") == "neuralmutator: Unrecognized options: --nope\n"


@pytest.mark.parametrize(
    "command",
    ["evolve CartPole-v1", "study a.toml", "plot run", "replay run", "analyse run", "nca film newt", "life film run"],
)
def test_every_command_takes_the_short_name_of_its_output(command):
    assert parse([*command.split(), "-o", "there"]) == parse([*command.split(), "--output", "there"])


def test_a_stop_is_one_line(monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("neuralmutator.cli.evolve.run_story", stop)
    assert main(["evolve", "CartPole-v1"]) == 130
    assert capsys.readouterr().err == "neuralmutator: stopped\n"


@pytest.mark.parametrize(
    "argv",
    [["evolve", "CartPole-v1", *FAST], ["quine", "train", "--quiet", "--hidden", "4", "--width", "4", "--epochs", "5"]],
)
def test_a_stopped_run_says_how_it_goes_on(tmp_path, monkeypatch, capsys, argv):
    def stop(*_):
        raise KeyboardInterrupt

    folder = ["--output", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "append_metrics", stop)
        assert main([*argv, *folder]) == 130
    said = capsys.readouterr().out
    assert said.startswith("Interrupted after 0 of ") and f"--resume --output {tmp_path / 'run'}" in said
    assert main([*argv, *folder, "--resume"]) == 0


BAD = {
    "no command": ([], "evolve"),
    "unknown command": (["evolv"], "did you mean evolve?"),
    "no environment": (["evolve"], "STR"),
    "unknown environment": (["evolve", "CartPole-v9"], "unknown environment 'CartPole-v9'"),
    "unknown option": (["evolve", "CartPole-v1", "--popsize", 3], "popsize"),
    "not a number": (["evolve", "CartPole-v1", "--generations", "many"], "generations"),
    "unknown mutator": (["evolve", "CartPole-v1", "--mutator", "magic"], "mutator"),
    "unknown preset": (["evolve", "CartPole-v1", "--preset", "best"], "preset"),
    "unknown policy": (["evolve", "CartPole-v1", "--policy.kind", "transformer"], "policy.kind"),
    "empty population": (["evolve", "CartPole-v1", "--population-size", 0], "population_size"),
    "population of one": (["evolve", "CartPole-v1", "--population-size", 1], "population_size"),
    "as many elites as members": (["evolve", "CartPole-v1", "--elites", 80], "elites"),
    "negative elites": (["evolve", "CartPole-v1", "--elites", -1], "elites"),
    "no generations": (["evolve", "CartPole-v1", "--generations", 0], "generations"),
    "no episodes": (["evolve", "CartPole-v1", "--episodes", 0], "episodes"),
    "no steps": (["evolve", "CartPole-v1", "--max-steps", 0], "max_steps"),
    "negative crossover": (["evolve", "CartPole-v1", "--crossover-rate", -0.1], "crossover_rate"),
    "crossover above one": (["evolve", "CartPole-v1", "--crossover-rate", 1.5], "crossover_rate"),
    "crossover of NaN": (["evolve", "CartPole-v1", "--crossover-rate", "nan"], "crossover_rate"),
    "negative cost": (["evolve", "CartPole-v1", "--complexity-cost", -1], "complexity_cost"),
    "negative structural rate": (["evolve", "CartPole-v1", "--structural-rate", -1], "structural_rate"),
    "negative step size": (
        ["evolve", "CartPole-v1", "--mutator", "gaussian", "--mutation.std", -1],
        "std must be a finite number of at least 0",
    ),
    "negative meta rate": (["evolve", "CartPole-v1", "--mutation.meta-rate", -1], "meta_rate"),
    "empty chunks": (["evolve", "CartPole-v1", "--mutation.chunk-size", 0], "chunk_size"),
    "empty tournament": (["evolve", "CartPole-v1", "--tournament", 0], "tournament must"),
    "nobody a parent": (["evolve", "CartPole-v1", "--truncation", 0], "truncation must"),
    "threshold of zero": (["evolve", "CartPole-v1", "--speciation", "--species.threshold", 0], "threshold"),
    "no species wanted": (["evolve", "CartPole-v1", "--speciation", "--species.target", 0], "target_species"),
    "geometric to nothing": (["evolve", "CartPole-v1", "--decay", "geometric", "--final-decay", 0], "decay must be"),
    "decay above one": (["evolve", "CartPole-v1", "--final-decay", 2], "final_decay"),
    "an option of another mutator": (
        ["evolve", "CartPole-v1", "--mutation.rate", 0.2],
        "mutation.rate 0.2 would be ignored: mutator auto does not use it",
    ),
    "an option of another policy": (
        ["evolve", "CartPole-v1", "--policy.max-layers", 1],
        "policy.max_layers 1 would be",
    ),
    "no seeds": (["evolve", "CartPole-v1", "--seeds", 0], "seeds must be at least 1"),
    "no time": (["evolve", "CartPole-v1", "--time-limit", 0], "time-limit must be above 0"),
    "evaluate with a negative seed": (["evaluate", "nowhere", "--seed", -1], "seed must be at least 0, got -1"),
    "negative seed": (["evolve", "CartPole-v1", "--seed", -1], "seed"),
    "hall of one": (["evolve", "CartPole-v1", "--hall", 1], "hall must be 0"),
    "layers without neurons": (
        ["evolve", "CartPole-v1", "--policy.kind", "mlp", "--policy.hidden", 0],
        "hidden must be a whole number of at least 1, got 0",
    ),
    "room too narrow": (["evolve", "CartPole-v1", "--policy.max-width", 4], "max_width"),
    "images for a perceptron": (["evolve", "Breakout-MinAtar"], "(10, 10, 4)"),
    "vectors for a CNN": (["evolve", "CartPole-v1", "--policy.kind", "cnn"], "needs images"),
    "no test episodes": (["evolve", "CartPole-v1", "--test-episodes", 0], "test-episodes"),
    "resume what": (["evolve", "CartPole-v1", "--resume"], "--output"),
    "evaluate nothing": (["evaluate", "nowhere"], "not a run folder"),
    "plot nothing": (["plot"], "run folder"),
    "replay nothing": (["replay", "nowhere"], "not a run folder"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_options_get_one_line_and_leave_nothing(case, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv, said = BAD[case]
    assert said in complaint(capsys, *argv)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_not_overwritten(run, capsys):
    before = tree(run)
    assert "exists" in complaint(capsys, "evolve", "CartPole-v1", "--output", run, *FAST)
    assert tree(run) == before


def test_resume_of_another_configuration(run, capsys):
    before = tree(run)
    argv = ("evolve", "CartPole-v1", "--output", run, "--resume", *FAST, "--seed", 5)
    assert "begun with another seed" in complaint(capsys, *argv)
    assert tree(run) == before


def test_resume_of_nothing(tmp_path, capsys):
    argv = ("evolve", "CartPole-v1", "--output", tmp_path / "none", "--resume", *FAST)
    assert "not a run folder" in complaint(capsys, *argv)


@pytest.mark.parametrize("damage", ["truncated", "emptied", "foreign"])
def test_checkpoints_that_are_all_damaged(copy, capsys, damage):
    fast = FAST
    if damage == "foreign":
        (copy / "config.json").write_text(
            (copy / "config.json").read_text().replace('"hidden": [\n      4', '"hidden": [\n      5')
        )
        fast = [*FAST[: FAST.index("--policy.hidden") + 1], "5", *FAST[FAST.index("--policy.hidden") + 2 :]]
    else:
        for path in (copy / "checkpoints").iterdir():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if damage == "truncated" else b"")
    before = tree(copy)
    printed = complaint(capsys, "evolve", "CartPole-v1", "--output", copy, "--resume", *fast)
    assert "checkpoint" in printed
    assert tree(copy) == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"env": "CartPole-v1"}', "\x00\xff"])
def test_a_damaged_configuration(copy, capsys, text):
    (copy / "config.json").write_bytes(text.encode("latin-1"))
    for command in ("evaluate", "replay", "plot"):
        assert "config" in complaint(capsys, command, copy)


def test_a_damaged_champion(copy, capsys):
    for data in (b"", (copy / "champion.npz").read_bytes()[:200]):
        (copy / "champion.npz").write_bytes(data)
        assert "champion.npz" in complaint(capsys, "evaluate", copy)
    np.savez(copy / "champion.npz", weights=np.zeros(3))
    assert "champion.npz" in complaint(capsys, "evaluate", copy)
    (copy / "champion.npz").unlink()
    assert "no champion" in complaint(capsys, "evaluate", copy)


def test_a_film_of_no_known_kind_is_refused_before_it_is_played(copy, capsys):
    assert ".mp4 or .gif" in complaint(capsys, "replay", copy, "--output", copy / "film.avi")


def test_a_quine_is_trained_from_the_command_line(tmp_path, capsys):
    small = ["--hidden", "30", "30", "--width", "30", "--std", "0.03", "--activation", "leaky-relu", "--epochs", "60"]
    run = tmp_path / "run"
    assert main(["quine", "train", "--method", "homeostatic", "--quiet", "--output", str(run), *small]) == 0
    printed = capsys.readouterr().out
    assert "1,830 weights" in printed and "0: exact" in printed
    names = {"config.json", "metrics.jsonl", "checkpoints", "result.json", "weights.npz", "training.png", "weights.png"}
    names.add("lock")
    assert {path.name for path in run.iterdir()} == names
    assert "exists" in complaint(capsys, "quine", "train", "--output", run)
    assert "method" in complaint(capsys, "quine", "train", "--method", "magic")
    assert "--paper" in complaint(capsys, "quine", "train", "--paper", "--epochs", 3, "--output", tmp_path / "paper")
    assert "'digits'" in complaint(capsys, "quine", "auxiliary", "--data", tmp_path / "nowhere")


def test_a_fitness_that_is_never_finite(tmp_path, capsys):
    argv = ("evolve", "BrokenPole-v0", "--output", tmp_path / "run", *FAST)
    assert "no member of generation 0 has a finite fitness" in complaint(capsys, *argv)


def test_an_environment_that_gymnasium_lacks(copy, capsys):
    text = (copy / "config.json").read_text().replace("CartPole-v1", "BrokenPole-v0")
    (copy / "config.json").write_text(text)
    assert "BrokenPole-v0" in complaint(capsys, "evaluate", copy, "--gymnasium")


def test_an_output_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert "file" in complaint(capsys, "evolve", "CartPole-v1", "--output", tmp_path / "file" / "run", *FAST)
    assert "/proc" in complaint(capsys, "evolve", "CartPole-v1", "--output", "/proc/run", *FAST)
    if os.path.exists("/dev/full"):
        assert "exists" in complaint(capsys, "evolve", "CartPole-v1", "--output", "/dev/full", *FAST)


def test_a_champion_that_is_none(copy, capsys):
    genome = RunFolder(copy).load_champion()
    RunFolder(copy).save_champion(genome._replace(policy=genome.policy * np.nan))
    assert "not finite" in complaint(capsys, "evaluate", copy)
    RunFolder(copy).save_champion(genome._replace(policy=genome.policy[:-1]))
    assert "must hold the 30 parameters of the policy, got (29,)" in complaint(capsys, "evaluate", copy)


def test_a_hidden_layer_that_no_machine_holds_is_not_made(copy, capsys):
    text = (copy / "config.json").read_text().replace('"hidden": [\n      4', '"hidden": [\n      1000000000')
    (copy / "config.json").write_text(text)
    assert "policy.hidden must be at most 65,536" in complaint(capsys, "evaluate", copy)
    for hidden in (["1000000000"], ["60000", "60000"]):
        large = [*FAST[: FAST.index("--policy.hidden") + 1], *hidden]
        assert "policy.hidden must be at" in complaint(
            capsys, "evolve", "CartPole-v1", "--output", copy / "new", *large
        )
    many = ["--population-size", "1000000", *FAST[2:], "--policy.hidden", "1000"]
    assert "GB" in complaint(capsys, "evolve", "CartPole-v1", "--output", copy / "new", *many)


def test_a_record_without_checkpoints_is_not_resumed(tmp_path, capsys):
    record = shutil.copytree(Path(__file__).parents[2] / "examples" / "records" / "LunarLander-v3", tmp_path / "rec")
    before = tree(record)
    options = (
        "--population-size 160 --generations 300 --episodes 10 --max-steps 500 --crossover-rate 0.5 --elites 1 "
        "--truncation 0.1 --preset strict --hall-episodes 50 "
        "--policy.kind mlp --policy.hidden 51"
    ).split()
    said = complaint(capsys, "evolve", "LunarLander-v3", *options, "--output", record, "--resume")
    assert "has metrics.jsonl but no checkpoint" in said
    assert {path: data for path, data in tree(record).items() if path.name != "lock"} == before


def test_evaluate_says_in_which_world_and_how_long(run, capsys):
    assert main(["evaluate", str(run), "--episodes", "2"]) == 0
    assert "CartPole-v1 of gymnax (JAX), 2 episodes of at most 10 steps; whole ones have 500" in capsys.readouterr().out


@pytest.mark.slow
def test_several_seeds_leave_a_folder_each_and_one_figure(tmp_path, capsys):
    argv = ["evolve", "CartPole-v1", "--output", str(tmp_path / "all"), "--seeds", "2", "--seed", "7", *FAST]
    assert main(argv) == 0
    assert {path.name for path in (tmp_path / "all").iterdir()} == {"seed-7", "seed-8", "training.png"}
    assert main([*argv, "--resume"]) == 0
    assert "2 seeds" in capsys.readouterr().out


@pytest.mark.slow
def test_a_target_ends_the_run(tmp_path, capsys):
    fast = [*FAST[:2], "--generations", "30", *FAST[4:]]
    argv = ["evolve", "CartPole-v1", "--output", str(tmp_path / "run"), *fast, "--target-fitness", "1"]
    assert main(argv) == 0
    assert "fitness_best has reached 1" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "result.json").read_text())["moments"] < 30


def test_version_commands_and_environments(capsys):
    assert main(["--version"]) == 0
    version = capsys.readouterr().out.split()[1]
    assert f'version = "{version}"' in (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("evolve", "quine", "nca", "envs", "--debug", "--no-compilation-cache"))
    assert main(["envs"]) == 0
    assert {"CartPole-v1", "LunarLander-v3", "CarRacing-v3"} <= set(capsys.readouterr().out.split())


def test_an_error_of_the_program_does_not_look_like_one_of_its_user(tmp_path, capsys, monkeypatch):
    def broken(*_):
        raise ValueError("operands could not be broadcast")

    monkeypatch.setattr("neuralmutator.runs.evolve.compile_fresh", broken)
    assert main(["evolve", "CartPole-v1", "--output", str(tmp_path / "run"), *FAST]) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said and "operands could not be broadcast" in said and "an error of neuralmutator" in said


def test_debug_shows_where_a_refusal_comes_from(capsys):
    assert main(["evaluate", "nowhere", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_plot_takes_every_kind_of_run(run, tmp_path, capsys):
    small = ["--hidden", "4", "--width", "4", "--epochs", "4", "--quiet"]
    for seed in ("1", "2"):
        assert main(["quine", "train", "--output", str(tmp_path / seed), "--seed", seed, *small]) == 0
    for runs in (["1"], ["1", "2"]):
        picture = tmp_path / "picture.png"
        assert main(["plot", *(str(tmp_path / name) for name in runs), "--output", str(picture)]) == 0
        assert picture.stat().st_size > 10_000
        picture.unlink()
    assert "runs must be of one kind" in complaint(capsys, "plot", run, tmp_path / "1")


def command(*argv, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "neuralmutator", *map(str, argv)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def test_nobody_reads_the_output():
    process = command("--help")
    process.stdout.close()
    assert process.wait() in (0, 141) and b"Errno" not in process.stderr.read()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_stop_while_compiling_is_answered_before_it_is_compiled(tmp_path, name):
    process = command("evolve", "CartPole-v1", "--output", tmp_path / "run", "--no-compilation-cache")
    assert b"compiling" in process.stderr.readline()
    process.send_signal(getattr(signal, name))
    process.send_signal(getattr(signal, name))
    _, err = process.communicate()
    assert process.returncode == 130
    assert b"terminate called" not in err and b"Traceback" not in err
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hosts", "2"], "--hosts, --host-index and --coordinator must be given together"),
        (
            ["--hosts", "2", "--host-index", "0", "--coordinator", "a:1"],
            "several hosts need --output, a folder",
        ),
        (
            ["--hosts", "2", "--host-index", "0", "--coordinator", "a:1", "--output", "x", "--host"],
            "hosts must be 1 with --host",
        ),
    ],
)
def test_hosts_that_cannot_be(capsys, arguments, message):
    assert message in complaint(capsys, "evolve", "CartPole-v1", *arguments)
