"""Answers: marked lines of JSON on what was standard output, which libraries no longer reach."""
import json
import math
import os
import platform
import sys

MARKER = "@attn-diag-bench "
PROTOCOL_VERSION = 2
# A library's own words are kept to this many characters; refusals of a compiler can be pages long.
MAX_TEXT = 600


class Refused(Exception):
    """The adapter cannot put the case to the library: the call has no argument for it."""


class Unavailable(Exception):
    """The library cannot be used here at all. `code` is stable, `text` is shown."""

    def __init__(self, code, text):
        Exception.__init__(self, text)
        self.code = code
        self.text = text


def reason(code, text):
    return {"code": code, "text": shorten(text)}


def shorten(text):
    """One line, printable, not longer than MAX_TEXT; the end is kept too, where compilers say what is wrong."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    if len(line) <= MAX_TEXT:
        return line
    return line[: MAX_TEXT * 2 // 3] + " … " + line[-MAX_TEXT // 3 :]


def finite(value):
    """A number for JSON, or None for what JSON has no word for."""
    return value if value is not None and math.isfinite(value) else None


class Wire(object):
    """Writes answers. Making one turns file descriptor 1 into standard error, so that no library can write between them."""

    def __init__(self):
        sys.stdout.flush()
        self._out = os.dup(1)
        os.dup2(2, 1)
        sys.stdout = sys.stderr

    def send(self, **message):
        data = (MARKER + json.dumps(message, allow_nan=False) + "\n").encode("utf-8")
        try:
            while data:
                data = data[os.write(self._out, data) :]
        except BrokenPipeError:
            os._exit(0)  # nobody listens any more

    def close(self):
        os.close(self._out)

    def hello(self):
        self.send(kind="hello", protocolVersion=PROTOCOL_VERSION, pid=os.getpid(), python=platform.python_version())

    def library(self, available, version=None, torch=None, why=None):
        self.send(kind="library", available=available, version=version, torch=torch, reason=why)

    def phase(self, case_index, phase):
        self.send(kind="phase", caseIndex=case_index, phase=phase)

    def row(self, case_index, result):
        self.send(kind="row", caseIndex=case_index, result=result)

    def done(self):
        self.send(kind="done")


def result(status, why=None, **fields):
    """A row's result, every field there; what was not established is None."""
    row = {
        "status": status,
        "reason": why,
        "kernel": None,
        "gpuMs": None,
        "hostUs": None,
        "tflops": None,
        "tbps": None,
        "percentOfCeiling": None,
        "ceiling": None,
        "relError": None,
        "roundingFloor": None,
        "lseError": None,
        "checkedRows": 0,
        "smClockMHz": None,
        "jitMs": None,
        "contended": False,
    }
    row.update(fields)
    for name in ("hostUs", "tflops", "tbps", "percentOfCeiling", "relError", "roundingFloor", "lseError", "smClockMHz", "jitMs"):
        row[name] = finite(row[name])
    return row
