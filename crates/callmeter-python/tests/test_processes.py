"""Whole host processes: forks, ends of every kind, servers that fork. No finished call is lost, none is doubled."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import urllib.request
from typing import Any

import pytest

from conftest import eventually

ASK = """
import callmeter

def ask(caller, **texts):
    with callmeter.log_ai_call(caller, "p", "m", **texts):
        pass

"""


def callers(host: Any) -> list[str]:
    return sorted(row["caller"] for row in host.rows())


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("os._exit(4)", 4),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("raise KeyError", 1),
        ("os.abort()", -signal.SIGABRT),
    ],
)
def test_no_finished_call_is_lost_however_the_process_ends(host: Any, end: str, code: int) -> None:
    host.run(f"import os, signal, sys\n{ASK}\nfor n in range(200):\n    ask(f'{{n:03}}')\n{end}\n", code=code)
    assert callers(host) == [f"{n:03}" for n in range(200)]


def test_a_call_in_flight_when_its_process_dies_is_aborted(host: Any) -> None:
    host.run(f"import os\n{ASK}\nopened = callmeter.log_ai_call('open', 'p', 'm').__enter__()\nos._exit(0)")
    (row,) = host.rows()
    assert (row["caller"], row["status"]) == ("open", "aborted")


def test_a_call_open_when_the_interpreter_ends_is_told_of(host: Any) -> None:
    host.run(f"{ASK}\nopen_call = callmeter.log_ai_call('open', 'p', 'm')\nopen_call.__enter__()")
    (row,) = host.rows()
    assert (row["caller"], row["status"]) in [("open", "aborted"), ("open", "error")]


def test_a_system_exit_in_a_call_is_recorded_and_the_process_ends_with_its_code(host: Any) -> None:
    host.run(f"import sys\n{ASK}\nwith callmeter.log_ai_call('c', 'p', 'm'):\n    sys.exit(7)", code=7)
    (row,) = host.rows()
    assert row["status"] == "cancelled"


def test_ctrl_c_in_a_call_is_recorded_and_the_process_ends_by_it(host: Any) -> None:
    process = host.start(
        f"""
import signal, time
{ASK}
# Whoever started the tests may have had interrupts ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
with callmeter.log_ai_call("c", "p", "m"):
    print("in it", flush=True)
    # Not one long sleep: Python notes an interrupt that comes just before one, and acts on it only after.
    while True:
        time.sleep(0.01)
"""
    )
    assert process.stdout.readline() == "in it\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (1, -signal.SIGINT)
    assert "KeyboardInterrupt" in err
    (row,) = host.rows()
    assert row["status"] == "cancelled"


def test_calls_of_other_exit_handlers_are_recorded(host: Any) -> None:
    host.run(f"import atexit\nimport sys\n{ASK}\natexit.register(ask, 'last')\nask('first')\n")
    host.run(f"import atexit\nimport sys\n{ASK}\nask('second')\natexit.register(ask, 'late')\n")
    assert callers(host) == ["first", "last", "late", "second"]


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)"])
def test_parent_and_forked_child_record_their_own_calls_once(host: Any, warm: bool, end: str) -> None:
    host.run(
        f"""
import os, sys
{ASK}
if {warm}:
    ask("before")
for number in range(3):
    child = os.fork()
    if child == 0:
        ask(f"child {{number}}")
        {end}
    ask(f"parent {{number}}")
    assert os.waitpid(child, 0)[1] == 0
"""
    )
    before = ["before"] if warm else []
    assert callers(host) == sorted(before + [f"{who} {n}" for who in ("child", "parent") for n in range(3)])


def test_a_fork_inside_a_call_leaves_the_call_to_the_parent(host: Any) -> None:
    host.run(
        f"""
import os
{ASK}
with callmeter.log_ai_call("outer", "p", "m") as ctx:
    child = os.fork()
    if child == 0:
        ask("child")
        ctx.__exit__(None, None, None)
        os._exit(0)
    os.waitpid(child, 0)
assert callmeter.flush(30)
"""
    )
    assert callers(host) == ["child", "outer"]


def test_a_fork_while_other_threads_call_loses_nothing(host: Any) -> None:
    host.run(
        f"""
import os, threading
{ASK}
stop = threading.Event()
made = [0] * 4

def call(number):
    while not stop.wait(0.001):
        ask(f"thread {{number}}")
        made[number] += 1

threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # the host's own threads
for number in range(5):
    child = os.fork()
    if child == 0:
        for _ in range(10):
            ask("child")
        os._exit(0)
    os.waitpid(child, 0)
stop.set()
for thread in threads:
    thread.join()
assert callmeter.flush(60)
stats = callmeter.stats()
assert stats["finished"] == sum(made) and not any(stats["dropped"].values()), (stats, made)
print(sum(made))
"""
    )
    rows = callers(host)
    assert rows.count("child") == 50
    assert len(set(rows)) == 5


@pytest.mark.parametrize("pause_us", [0, 100, 300, 1_000, 3_000, 10_000])
def test_a_fork_into_the_first_call_of_another_thread_loses_nothing(host: Any, pause_us: int) -> None:
    host.run(
        f"""
import os, threading, time
{ASK}
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # the host's own thread
began = threading.Event()
first = threading.Thread(target=lambda: (began.set(), ask("first")))
first.start()
began.wait()
until = time.monotonic_ns() + {pause_us} * 1_000
while time.monotonic_ns() < until:
    pass
child = os.fork()
if child == 0:
    ask("child")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
first.join()
ask("parent")
"""
    )
    assert callers(host) == ["child", "first", "parent"]


def test_a_fork_does_not_wait_for_modules_of_the_host_s_that_are_asked_for_the_store(host: Any) -> None:
    # The module waits for the fork, which an earlier version would have made wait for the module.
    host.write("database/__init__.py", "")
    host.write("database/manager.py", "import shared\nshared.entered.set()\nassert shared.forked.wait(60)\n")
    host.write("shared.py", "import threading\nentered, forked = threading.Event(), threading.Event()\n")
    host.environment["PYTHONPATH"] += f"{os.pathsep}{host.directory}"
    host.run(
        f"""
import os, sys, threading, time
{ASK}
import shared
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # the host's own thread
first = threading.Thread(target=ask, args=("first",))
first.start()
assert shared.entered.wait(60)
child = os.fork()
if child == 0:
    # The module was being imported by a thread that is not here.
    sys.modules["database.manager"] = None
    ask("child")
    os._exit(0)
shared.forked.set()
assert os.waitpid(child, 0)[1] == 0
first.join()
"""
    )
    assert callers(host) == ["child", "first"]


def test_a_fork_does_not_warn_of_threads_of_ours(host: Any) -> None:
    # Warnings are errors in these processes; from Python 3.12 on a fork with threads is one.
    host.run(f"import os\n{ASK}\nask('c')\nchild = os.fork()\nif child == 0:\n    os._exit(0)\nos.waitpid(child, 0)\n")


def test_a_process_that_forks_and_calls_no_more_hands_its_calls_over(host: Any) -> None:
    process = host.start(
        f"""
import os, sys
{ASK}
ask("before the fork")
if os.fork() == 0:
    os._exit(0)
os.wait()
print("forked", flush=True)
sys.stdin.read()
""",
        stdin=-1,
    )
    assert process.stdout.readline() == "forked\n"
    # The parent lives and rests; another process of the home ships what it spooled.
    assert callers(host) == ["before the fork"]
    process.stdin.close()
    assert process.wait(60) == 0


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_multiprocessing_record(host: Any, method: str) -> None:
    host.write("work.py", ASK + "def work(n):\n    ask(f'worker {n % 2}')\n    return n\n")
    host.run(
        f"""
import multiprocessing, sys
sys.path.insert(0, ".")
import work

if __name__ == "__main__":
    work.ask("main")
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        assert pool.map(work.work, range(20)) == list(range(20))
"""
    )
    rows = callers(host)
    assert (len(rows), rows.count("main")) == (21, 1)


@pytest.mark.parametrize("kind", ["closed", "silent"])
def test_an_exit_while_the_store_is_down_loses_nothing(host: Any, kind: str) -> None:
    # Nobody listens there, or somebody who says nothing; the calls wait for a process that knows a better place.
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = 1 if kind == "closed" else server.getsockname()[1]
        host.environment["CALLMETER_STORE_URL"] = f"postgres://nobody@127.0.0.1:{port}/nothing"
        if kind == "closed":
            # Longer than anybody waits for this test: a store that fails is not given that time.
            host.environment["CALLMETER_EXIT_FLUSH"] = "600s"
        host.run(f"{ASK}\nfor n in range(50):\n    ask('c')\n")
    assert "50 calls in 1 spool" in host.command("status")


GUNICORN = """
bind = "127.0.0.1:0"
workers = 2
preload_app = {preload}
"""

APPLICATION = (
    ASK
    + """
import os

ask("import")

def application(environ, start_response):
    ask(environ["PATH_INFO"].strip("/") or "root")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""
)


@pytest.mark.parametrize("preload", [True, False])
@pytest.mark.parametrize("reload", [True, False])
def test_gunicorn_s_workers_record_every_request(host: Any, preload: bool, reload: bool) -> None:
    host.write("application.py", APPLICATION)
    host.write("gunicorn.conf.py", GUNICORN.format(preload=preload))
    process = host.start_command([sys.executable, "-m", "gunicorn", "application:application"], stderr=-1)
    lines: list[str] = []

    def address() -> str:
        while line := process.stderr.readline():
            lines.append(line)
            if "Listening at: http://" in line:
                return line.split("http://")[1].split()[0]
        raise AssertionError("".join(lines))

    place = address()
    drain = threading.Thread(target=lambda: lines.extend(process.stderr))
    drain.start()

    def get(path: str) -> str:
        with urllib.request.urlopen(f"http://{place}/{path}", timeout=60) as answer:
            return str(answer.read().decode())

    first = {get("before") for _ in range(20)}
    if reload:
        process.send_signal(signal.SIGHUP)
        eventually(lambda: get("between") not in first, "a worker of after the reload")
    for _ in range(20):
        get("after")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    drain.join(60)
    rows = host.by_caller()
    assert len(rows["before"]) == 20
    assert len(rows["after"]) == 20
    assert len(rows["import"]) >= 1
    ids = [row["call_id"] for calls in rows.values() for row in calls]
    assert len(ids) == len(set(ids))
    assert not [line for line in lines if "DeprecationWarning" in line], lines


def test_celery_s_prefork_workers_record_every_task(host: Any) -> None:
    for name in ("queue", "control"):
        (host.directory / name).mkdir()
    host.write(
        "tasks.py",
        ASK
        + """
import celery

app = celery.Celery("tasks", broker="filesystem://")
app.conf.update(
    broker_transport_options={"data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control"},
    worker_hijack_root_logger=False,
)
ask("import")

@app.task
def work(n):
    ask(f"task {n}")
""",
    )
    host.environment["PYTHONPATH"] += f"{os.pathsep}{host.directory}"
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-c", "2", "-P", "prefork", "--without-mingle"]
    # The log goes nowhere: a pipe that nobody reads would fill.
    with open(host.directory / "celery.log", "w") as log:
        process = host.start_command(command, stdout=log, stderr=log)
    try:
        host.run("import tasks\nfor n in range(12):\n    tasks.work.delay(n)\n")

        def done() -> bool:
            rows = host.by_caller()
            return all(f"task {n}" in rows for n in range(12))

        eventually(done, "twelve tasks")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    rows = host.by_caller()
    assert [len(rows[f"task {n}"]) for n in range(12)] == [1] * 12
