"""Several processes that make the parts of one extraction; one that crashes costs the video that it was at."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vhbench.errors import StoreError
from vhbench.video.worker import Task, error_of

Videos = Sequence[tuple[int, Path]]


def make_parts(task: Task, parts: Mapping[int, Videos], jobs: int, count: Callable[[int], None]) -> None:
    """Make parts and wait until all are written.

    Args:
        task: what is common to them.
        parts: number -> its videos.
        jobs: processes at most.
        count: called with a video's number after each; one call at a time.

    Raises:
        VhbenchError: a process refused to go on.
        StoreError: a process could not be started.
    """
    pool = _Pool(task, parts, count)
    threads = [threading.Thread(target=pool.work, daemon=True) for _ in range(min(jobs, len(parts)))]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)  # with a limit, so that Ctrl-C is heard
    finally:
        pool.stop()
        for thread in threads:
            thread.join()
    if pool.errors:
        raise pool.errors[0]


class _Pool:
    """What the threads share, each of which looks after one process."""

    def __init__(self, task: Task, parts: Mapping[int, Videos], count: Callable[[int], None]):
        self._task, self._count = task, count
        self._left: queue.SimpleQueue[tuple[int, Videos]] = queue.SimpleQueue()
        for item in parts.items():
            self._left.put(item)
        self._lock = threading.Lock()
        self._counted: set[int] = set()
        self._processes: set[subprocess.Popen] = set()
        self._stopped = False
        self.errors: list[Exception] = []

    def stop(self) -> None:
        """End all processes."""
        with self._lock:
            self._stopped = True
            for process in self._processes:
                process.kill()

    def work(self) -> None:
        """Make parts until none is left."""
        try:
            while not self._stopped:
                number, videos = self._left.get_nowait()
                self._make(number, videos)
        except queue.Empty:
            pass
        except Exception as error:
            self.errors.append(error)
            self.stop()
        finally:
            self._end(getattr(threading.current_thread(), "process", None))

    def _make(self, number: int, videos: Videos) -> None:
        """Make one part, with another process where one crashes."""
        skip: dict[int, str] = {}
        while not self._stopped:
            process = self._process()
            request = {"number": number, "videos": [(row, str(path)) for row, path in videos], "skip": skip}
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(request) + "\n")
                process.stdin.flush()
            at = self._listen(process, number)
            if at is None or self._stopped:
                return
            self._end(process)
            skip[at] = f"the decoder crashed ({_how(process.returncode)})"

    def _listen(self, process: Any, number: int) -> int | None:
        """Hear a process out; return the video that it crashed at, or None where the part is written."""
        at: int | None = None
        for line in process.stdout:
            answer = json.loads(line)
            if "error" in answer:
                raise error_of(answer)
            if answer.get("written") == number:
                return None
            at = answer.get("at", at)
            if "done" in answer:
                at = None
                self._count_once(answer["done"])
        if at is None and not self._stopped:
            process.wait()
            raise StoreError(f"A process of the extraction ended by itself ({_how(process.returncode)}).")
        return at

    def _count_once(self, row: int) -> None:
        with self._lock:
            if row not in self._counted:
                self._counted.add(row)
                self._count(row)

    def _process(self) -> Any:
        """Return this thread's process, a new one where it has none: the system ends it when the thread ends."""
        thread: Any = threading.current_thread()
        if getattr(thread, "process", None) is None:
            words = [sys.executable, "-m", "vhbench.video.worker", str(os.getpid())]
            process: Any = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", start_new_session=True
            )
            with self._lock:
                self._processes.add(process)
            thread.process = process
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(self._task.to_json()) + "\n")
            if self._stopped:
                process.kill()
        return thread.process

    def _end(self, process: Any) -> None:
        if process is None:
            return
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.wait()
        process.stdout.close()
        with self._lock:
            self._processes.discard(process)
        threading.current_thread().process = None  # type: ignore[attr-defined]


def _how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
