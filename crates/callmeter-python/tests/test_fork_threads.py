"""What Python 3.12 and later look at when a process forks: that it has no thread but the one that forks.

They warn where ``/proc/self/stat`` counts more. Here the same is counted at the same moment, on any Python: hooks before
a fork run in the reverse order of their registration, so that one registered before callmeter is imported runs after callmeter's.
"""

from __future__ import annotations

from typing import Any

COUNT = """
import os

def threads():
    with open("/proc/self/stat") as file:
        # The number of threads is the 20th field; the second one, in brackets, may hold blanks.
        return int(file.read().rpartition(")")[2].split()[17])

counted = []
os.register_at_fork(before=lambda: counted.append(threads()))
import callmeter
from callmeter import _runtime

# However long a busy disk holds them up: what is looked at is whether they rest, not how soon.
_runtime._PARK_S = 60.0

def ask(caller):
    with callmeter.log_ai_call(caller, "p", "m"):
        pass

def fork():
    child = os.fork()
    if child == 0:
        ask("child")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

"""


def test_a_process_that_forks_has_no_thread_of_ours(host: Any) -> None:
    done = host.run(
        COUNT
        + """
fork()
ask("before")
assert threads() > 1, "nobody works beside the caller"
for _ in range(20):
    fork()
    ask("between")
print(set(counted), len(counted))
"""
    )
    assert done.stdout == "{1} 21\n"
    callers = [row["caller"] for row in host.rows()]
    assert (callers.count("child"), callers.count("between"), callers.count("before")) == (21, 20, 1)


def test_a_hook_that_callmeter_does_not_come_before_would_see_its_threads(host: Any) -> None:
    # What the test above counts is there to be seen: registered afterwards, the hook runs before ours have gone to rest.
    done = host.run(
        COUNT
        + """
late = []
os.register_at_fork(before=lambda: late.append(threads()))
ask("before")
fork()
print(late[0] > 1, counted)
"""
    )
    assert done.stdout == "True [1]\n"
