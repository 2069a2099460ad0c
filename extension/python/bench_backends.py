"""Runs attention cases through one installed library and answers with rows like the native runner's.

Reads one JSON request per line from standard input and answers with marked lines of JSON (extension/protocol/backendApi.ts
is the contract); ends when its input ends. One process per library: what an import or a kernel breaks is that library's loss.

This file parses under any Python, so that one that is too old can say so; the work is in the folder `backends` beside it,
which only needs the standard library until a library is imported. Nothing is written beside either, and neither folder is
left on the module path, where a name of ours could stand in front of one that a library looks for.
"""
import os
import sys

OLDEST_PYTHON = (3, 8)
PACKAGE = "attn_diag_backends"


def load(folder):
    """The package beside this file, under a name that nothing else has."""
    import importlib.util

    place = os.path.join(folder, "backends")
    spec = importlib.util.spec_from_file_location(
        PACKAGE, os.path.join(place, "__init__.py"), submodule_search_locations=[place]
    )
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)
    return importlib.import_module(PACKAGE + ".session")


def too_old():
    """Answers the first request with why nothing can be run, in the shape of the contract."""
    import json

    found = "%d.%d" % sys.version_info[:2]
    text = "This Python is %s; the runner needs %d.%d or newer." % ((found,) + OLDEST_PYTHON)
    reason = {"code": "pythonTooOld", "text": text}
    lines = (
        {"kind": "hello", "protocolVersion": 2, "pid": os.getpid(), "python": found},
        {"kind": "library", "available": False, "version": None, "torch": None, "reason": reason},
        {"kind": "done"},
    )
    for line in lines:
        print("@attn-diag-bench " + json.dumps(line))


def main():
    if sys.version_info < OLDEST_PYTHON:
        too_old()
        return 0
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != folder]
    writes = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    session = load(folder)
    sys.dont_write_bytecode = writes
    return session.main()


if __name__ == "__main__":
    sys.exit(main())
