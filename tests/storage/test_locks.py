from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from headstart.errors import ResourceError
from headstart.storage.locks import exclusive_lock, waiting_lock


class Stop(BaseException):
    """What a kill looks like inside the process."""


def test_folder_belongs_to_one_process_until_it_ends(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from headstart.storage.locks import exclusive_lock\n"
        "with exclusive_lock(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], **pipes) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ResourceError, match="another process is working in this folder"), exclusive_lock(tmp_path):
            pass
        other.kill()
    with exclusive_lock(tmp_path):
        assert (tmp_path / ".lock").exists()


def test_lock_is_released_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(Stop), exclusive_lock(tmp_path):
        raise Stop
    with exclusive_lock(tmp_path), pytest.raises(Stop), waiting_lock(tmp_path / "file", "it"):
        raise Stop
    with waiting_lock(tmp_path / "file", "it"):
        pass


def test_waiting_lock_lets_one_at_a_time_continue(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "headstart")
    order = []

    def second() -> None:
        with waiting_lock(tmp_path / "new" / "file", "the images"):
            order.append("second")

    with waiting_lock(tmp_path / "new" / "file", "the images"):
        assert caplog.messages == []
        thread = threading.Thread(target=second)
        thread.start()
        deadline = time.monotonic() + 60
        while not caplog.messages and time.monotonic() < deadline:
            time.sleep(0.01)
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]
    assert caplog.messages == ["waiting for another process that is using the images"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
@pytest.mark.parametrize("lock", [exclusive_lock, lambda folder: waiting_lock(folder / "file", "it")])
def test_a_file_system_without_locks_takes_one_line(
    lock: Callable[[Path], AbstractContextManager[None]], number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    rule = rf"its file system cannot lock files \({os.strerror(number)}\); use a folder on a local disk"
    with pytest.raises(ResourceError, match=rule), lock(tmp_path):
        pass
