"""Stands in for bench_backends.py: speaks its protocol without any library and misbehaves as the seed of a case says.

What a seed means comes as JSON in the file named by HOME/behaviour.json: {"engines": {ENGINE: {"describe": ACTION,
"cases": {SEED: ACTION}}}, "log": FILE}. Every request is appended to the log with the process's id.
"""

import json
import os
import signal
import subprocess
import sys
import time

MARKER = "@attn-diag-bench "
HOME = os.environ["HOME"]
with open(os.path.join(HOME, "behaviour.json"), encoding="utf-8") as file:
    BEHAVIOUR = json.load(file)


def say(**message):
    sys.stdout.write(MARKER + json.dumps(message) + "\n")
    sys.stdout.flush()


def note(**entry):
    with open(os.path.join(HOME, "log"), "a", encoding="utf-8") as file:
        file.write(json.dumps(dict(entry, pid=os.getpid(), at=time.monotonic())) + "\n")


def result(status="ok", ms=1.0, **changes):
    right = status == "ok"
    return dict(
        dict(
            status=status,
            reason=None if right else {"code": "refusedByLibrary", "text": "only head size 64"},
            kernel=None,
            gpuMs={"median": ms, "p10": ms * 0.99, "p90": ms * 1.01, "runs": 10} if right else None,
            hostUs=12.0 if right else None,
            tflops=100.0 if right else None,
            tbps=1.0 if right else None,
            percentOfCeiling=None,
            ceiling=None,
            relError=0.002 if right else None,
            roundingFloor=None,
            lseError=None,
            checkedRows=8 if right else 0,
            smClockMHz=None,
            jitMs=None,
            contended=False,
        ),
        **changes,
    )


def die(sig):
    os.kill(os.getpid(), sig)
    time.sleep(60)


def hang():
    while True:
        time.sleep(1)


def misbehave(action, index, command, check_only=False):
    if action == "segvInRound":
        if check_only:
            return False
        action = "segv"
    if action == "segv":
        sys.stderr.write("Traceback: never mind\nlibfoo.so: undefined symbol _Z3barv\n")
        sys.stderr.flush()
        die(signal.SIGSEGV)
    elif action == "exit":
        sys.stderr.write("CUDA error: an illegal memory access was encountered\n")
        sys.exit(3)
    elif action == "hang":
        hang()
    elif action == "hangTree":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import signal,time\nsignal.signal(15, signal.SIG_IGN)\ntime.sleep(600)"])
        note(child=child.pid)
        hang()
    elif action == "hangInJit":
        say(kind="phase", caseIndex=index, phase="jit")
        if command == "warm":
            hang()
    elif action == "flood":
        chunk = "x" * (1024 * 1024) + "\n"
        for _ in range(80):
            sys.stdout.write(chunk)
        sys.stdout.flush()
        hang()
    elif action == "garbage":
        print("a library prints to stdout")
        sys.stdout.write(MARKER + "{not json\n")
        sys.stdout.flush()
        return True
    elif action == "nan":
        say(kind="row", caseIndex=index, result=result(relError=float("nan")))
        return True
    elif action == "shape":
        say(kind="row", caseIndex=index, result={"status": "ok"})
        return True
    elif action == "impossible":
        say(kind="row", caseIndex=index, result=result(checkedRows=0))
        return True
    elif action == "negative":
        say(kind="row", caseIndex=index, result=result(gpuMs={"median": -1.0, "p10": -1.0, "p90": -1.0, "runs": 3}))
        return True
    elif action == "refuse":
        say(kind="row", caseIndex=index, result=result("unsupported"))
        return True
    elif action == "wrong":
        wrong = result("wrong", relError=0.5, checkedRows=8, reason={"code": "error", "text": "relative error 0.5"})
        say(kind="row", caseIndex=index, result=dict(wrong, gpuMs={"median": 1.0, "p10": 1.0, "p90": 1.0, "runs": 3}))
        return True
    elif action == "twice":
        say(kind="row", caseIndex=index, result=result(ms=2.0))
        say(kind="row", caseIndex=index, result=result(ms=9.0))
        say(kind="row", caseIndex=4000, result=result(ms=9.0))
        return True
    elif action == "oom":
        say(kind="row", caseIndex=index, result=result("outOfMemory", reason={"code": "outOfMemory", "text": "CUDA out of memory"}))
        return True
    elif action == "rowThenDie":
        say(kind="row", caseIndex=index, result=result("failed", reason={"code": "cuda", "text": "illegal address"}))
        sys.exit(3)
    elif action == "skip":
        return True
    return False


def library(engine, plan):
    action = plan.get("describe", "there")
    if action == "missing":
        say(kind="library", available=False, version=None, torch="2.11.0+cpu", reason={"code": "notInstalled", "text": f"{engine} is not installed"})
        return False
    if action in ("segv", "exit", "hang"):
        misbehave(action, 0, "describe")
    if action == "silent":
        return False
    say(kind="library", available=True, version="1.2.3", torch="2.11.0+cpu", reason=None)
    return True


def main():
    version = BEHAVIOUR.get("protocolVersion", 2)
    say(kind="hello", protocolVersion=version, pid=os.getpid(), python=sys.version.split()[0])
    for line in sys.stdin:
        request = json.loads(line)
        engine, command = request["engine"], request["command"]
        plan = BEHAVIOUR.get("engines", {}).get(engine, {})
        note(engine=engine, command=command, cases=[each["caseIndex"] for each in request["cases"]], checkRows=request["options"]["checkRows"], checkOnly=request["options"]["checkOnly"], hold=request["options"]["hold"], env=sorted(os.environ), cwd=os.getcwd(), ceilings=request["ceilings"])
        say(kind="phase", caseIndex=None, phase="import")
        if library(engine, plan):
            for each in request["cases"]:
                index = each["caseIndex"]
                action = plan.get("cases", {}).get(str(each["case"]["seed"]), "ok")
                say(kind="phase", caseIndex=index, phase="allocate")
                if misbehave(action, index, command, request["options"]["checkOnly"]):
                    continue
                if command == "warm":
                    say(kind="row", caseIndex=index, result=dict(result("ok", gpuMs=None), jitMs=1234.0))
                else:
                    say(kind="phase", caseIndex=index, phase="time")
                    say(kind="row", caseIndex=index, result=result(ms=plan.get("ms", 1.0)))
        say(kind="done")


main()
