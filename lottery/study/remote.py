"""Results at a URL: whatever fsspec reaches (s3://, gs://, sftp://, file://, ...), or a folder.

A study at a URL is worked on in a scratch folder on this machine: files that are needed are pulled
there first, and files that changed are pushed as cells go on. A file is pushed under a name of its
own and moved to its place, so that it appears whole where the file system can move; of a cell's
files levels go last, as a level must not appear before the points it ended with. Nothing keeps two
runs on one URL apart.
"""

import contextlib
import fnmatch
import secrets
import tempfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from fsspec.core import url_to_fs

from lottery.errors import ConfigError
from lottery.study.tables import DIAGNOSTICS, TABLES
from lottery.study.worker import Emit, Event, Task, run_cell

FILES = ("study.yaml", "manifest.json", *TABLES, DIAGNOSTICS)
FOLDERS = ("cells", "tensorboard")
LEVELS = "level_*"


class Results:
    """A study's results in a folder: nothing has to be pulled or pushed."""

    url: str | None = None

    def __init__(self, folder: Path, study: str) -> None:
        self.folder = folder
        """Where to work: a results directory on this machine."""
        self.place: Path | str = folder / study
        """Where the study ends up, for people."""

    def clear(self) -> None:
        """Discard all of the study that lies elsewhere."""

    def pull_cells(self, names: Collection[str], pattern: str = "*") -> None:
        """Get the files of cells whose names match the pattern."""

    def push_tables(self) -> None:
        """Put tables, manifest and configuration where they belong."""

    def push(self, event: Event) -> Event:
        """Put what a cell has written by this event where it belongs; the event for people."""
        return event


class RemoteResults(Results):
    """A study's results at a URL, worked on in a scratch folder."""

    def __init__(self, url: str, study: str, scratch: Path) -> None:
        super().__init__(scratch, study)
        self.url = url
        self.place = f"{url.rstrip('/')}/{study}"
        self._files, root = url_to_fs(url)
        self._root = f"{root.rstrip('/')}/{study}"
        self._local = scratch / study
        self._pushed: dict[Path, tuple[int, int]] = {}

    def clear(self) -> None:
        """Discard what is there."""
        for name in (*FILES, *FOLDERS):
            if self._files.exists(f"{self._root}/{name}"):
                self._files.rm(f"{self._root}/{name}", recursive=name in FOLDERS)

    def pull_tables(self) -> None:
        """Get tables, manifest and configuration."""
        self._pull([name for name in FILES if self._files.exists(f"{self._root}/{name}")])

    def pull_cells(self, names: Collection[str], pattern: str = "*") -> None:
        """Get what is not here yet; a file that was replaced differs in size."""
        self._files.invalidate_cache()  # other machines write there too
        for folder in FOLDERS:
            few = len(names) < 10  # else one listing of them all is less work
            places = [f"{folder}/{name}" for name in names] if few else [folder]
            sizes = {
                tuple(path.rsplit("/", 2)[-2:]): found["size"]
                for place in places
                for path, found in self._files.find(f"{self._root}/{place}", detail=True).items()
            }
            self._pull(
                [
                    f"{folder}/{cell}/{name}"
                    for (cell, name), size in sizes.items()
                    if cell in names
                    and fnmatch.fnmatch(name, pattern)
                    and not name.startswith(".")
                    and not self._has(f"{folder}/{cell}/{name}", size)
                ]
            )

    def _has(self, name: str, size: int) -> bool:
        path = self._local / name
        return path.exists() and path.stat().st_size == size

    def _pull(self, names: list[str]) -> None:
        """Get files in one call, as some file systems get many at once."""
        targets = [self._local / name for name in names]
        for target in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
        if names:
            self._files.get([f"{self._root}/{name}" for name in names], list(map(str, targets)))
        self._pushed |= {target: _state(target) for target in targets}

    def push_tables(self) -> None:
        """Put those that changed."""
        self._push(self._changed(self._local / name for name in FILES))

    def push(self, event: Event) -> Event:
        """TensorBoard's growing files go along when a level or a checkpoint goes."""
        cell, board = (self._local / folder / event.cell.name for folder in FOLDERS)
        changed = self._changed(cell.glob("*"))
        if changed or event.kind in ("done", "failed"):
            self._push(self._changed(board.glob("*")))
            self._push(changed)
        return replace(event, message=event.message.replace(str(self._local), str(self.place)))

    def _changed(self, paths: Iterable[Path]) -> list[Path]:
        """Files that differ from what was pulled or pushed last; levels at the end."""
        files = [path for path in paths if path.is_file() and not path.name.startswith(".")]
        new = [path for path in files if self._pushed.get(path) != _state(path)]
        return sorted(new, key=lambda path: (path.match(LEVELS), _state(path)))

    def _push(self, paths: Iterable[Path]) -> None:
        for path in paths:
            state = _state(path)  # before it is read: a later change is pushed again
            folder = f"{self._root}/{path.parent.relative_to(self._local)}".removesuffix("/.")
            beside = f"{folder}/.{path.name}.{secrets.token_hex(4)}.tmp"
            self._files.makedirs(folder, exist_ok=True)
            try:
                self._files.put_file(str(path), beside)
                self._files.mv(beside, f"{folder}/{path.name}")
            except BaseException:
                if self._files.exists(beside):
                    self._files.rm_file(beside)
                raise
            self._pushed[path] = state


def _state(path: Path) -> tuple[int, int]:
    """When a file was written, and its size."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size


@contextlib.contextmanager
def opened(results_dir: str | Path, study: str, *, tables: bool = True) -> Iterator[Results]:
    """A study's results, wherever they are; a scratch folder is gone afterwards.

    tables: get tables, manifest and configuration from a URL. Raises ConfigError for a URL that
    cannot be used.
    """
    if "://" not in str(results_dir):
        yield Results(Path(results_dir), study)
        return
    with tempfile.TemporaryDirectory(prefix="lottery-") as scratch:
        try:
            results = RemoteResults(str(results_dir), study, Path(scratch))
            if tables:
                results.pull_tables()
        except Exception as error:  # each file system fails in ways of its own
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            allowed = f"a folder, or a URL that fsspec can open here ({reason})"
            raise ConfigError("results_dir", str(results_dir), allowed) from error
        yield results


def run_cell_at(url: str, task: Task, emit: Emit) -> None:
    """`run_cell` on a machine that has nothing of the study but its URL.

    What the cell tells is told before its files are pushed, so that one that is not heard any more
    pushes nothing; that it is done is told after.
    """
    with opened(url, task.config.name, tables=False) as results:
        results.pull_cells([task.cell.name])
        if task.cell.needs is not None:
            results.pull_cells([task.cell.needs], LEVELS)

        def tell(event: Event) -> None:
            if event.kind in ("done", "failed"):
                emit(results.push(event))
            else:
                emit(event)
                results.push(event)

        run_cell(replace(task, results_dir=results.folder), tell)
