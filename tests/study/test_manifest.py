import json
import os
import re
import subprocess
from datetime import UTC, datetime, timedelta

from lottery.study import manifest
from lottery.study.manifest import append_run, describe_run, end_run


def test_a_run_says_what_made_it():
    run = describe_run("cpu", 2, {"train_images": "ab"})
    assert set(run) == {
        "started",
        "git_commit",
        "python",
        "versions",
        "host",
        "device",
        "workers",
        "data_sha256",
    }
    assert {"torch", "torchvision", "numpy", "pandas", "lottery"} <= set(run["versions"])
    assert run["versions"]["torch"]
    assert run["host"]["cores"] == os.cpu_count()
    assert run["host"]["processor"]
    assert run["data_sha256"] == {"train_images": "ab"}
    assert (run["device"], run["workers"]) == ("cpu", 2)
    started = datetime.fromisoformat(run["started"])
    assert started.tzinfo is not None
    assert abs(datetime.now(UTC) - started) < timedelta(minutes=1)


def test_nothing_in_it_tells_who_ran_it_or_where():
    text = json.dumps(describe_run("cpu", 2, {}))
    assert os.path.expanduser("~/") not in text
    assert os.getcwd() not in text


def test_runs_are_added_and_none_is_lost():
    first = append_run(None, "tiny", {"workers": 1})
    second = append_run(first, "tiny", {"workers": 2})
    assert json.loads(second) == {"study": "tiny", "runs": [{"workers": 1}, {"workers": 2}]}
    assert second.endswith("}\n")


def test_only_the_last_run_is_told_to_have_ended():
    two = append_run(append_run(None, "tiny", {"workers": 1}), "tiny", {"workers": 2})
    ended = json.loads(end_run(two, {"seconds": 3.0}))
    assert ended["runs"] == [{"workers": 1}, {"workers": 2, "seconds": 3.0}]


def git(folder, *arguments):
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.com"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_marked_when_the_code_differs_from_it(tmp_path, monkeypatch):
    code = tmp_path / "lottery" / "study"
    code.mkdir(parents=True)
    (tmp_path / "experiments").mkdir()
    monkeypatch.setattr(manifest, "__file__", str(code / "manifest.py"))
    assert manifest._git_commit() is None, "no checkout, no commit"
    git(tmp_path, "init", "-q")
    assert manifest._git_commit() is None, "a checkout without a commit"
    for path in ("lottery/study/a.py", "experiments/b.py", "notes.md"):
        (tmp_path / path).write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "c")
    commit = manifest._git_commit()
    assert commit == git(tmp_path, "rev-parse", "HEAD")
    assert re.fullmatch(r"[0-9a-f]{40}", commit)
    (tmp_path / "notes.md").write_text("2")
    assert manifest._git_commit() == commit, "notes are no code"
    (tmp_path / "experiments" / "b.py").write_text("2")
    assert manifest._git_commit() == f"{commit}+changes"


def test_a_machine_without_git_is_no_error(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert manifest._git_commit() is None
