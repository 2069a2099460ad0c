"""Carries out requests: describe a library, compile for cases, or check and time them."""
import gc
import importlib.util
import json
import linecache
import os
import re
import signal
import sys
import time
import traceback
import warnings

from . import registry
from .adapter import dist_version, explain_import
from .problem import BadCase, Problem
from .wire import PROTOCOL_VERSION, Refused, Unavailable, Wire, reason, result

# Cases of more work are not attempted on a CPU unless asked for: about ten seconds with the reference.
MAX_CPU_FLOPS = 2e11
# Exit code after the device is lost, so that the parent need not guess.
EXIT_DEVICE_LOST = 3
OUT_OF_MEMORY = re.compile("out of memory|can't allocate memory|not enough memory|CUDA_ERROR_OUT_OF_MEMORY", re.IGNORECASE)
# A launch that went wrong, which is no refusal.
CUDA_FAILED = re.compile(r"CUDA (runtime |driver )?error|cudaError|CUDA_ERROR_")
# How Python and torch's operators say that they were called with the wrong arguments.
MISCALLED = re.compile(
    r"unexpected keyword argument|required positional argument|positional arguments? but|missing \d+ required|got multiple values"
    r"|required keyword-only|expected at most \d+ argument|Expected a value of type .* for argument|is missing value for argument"
    r"|Unknown keyword argument|incompatible function arguments"
)
NO_COMPILER = re.compile(
    "could not find nvcc|nvcc.{0,40}not found|CUDA_HOME|ninja.{0,40}(not found|required)|No module named 'ninja'", re.IGNORECASE
)


# What torch puts below every CUDA error, whatever it was.
TORCH_ADVICE = re.compile(r"\n(?:CUDA|Search for|For debugging|Compile with|Device-side)")


def main():
    # The default action ends the process at once, also while a library computes or compiles; cancelling is that.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    requests = sys.stdin
    wire = Wire()
    wire.hello()
    prepare_environment()
    session = Session(wire)
    for line in iter(requests.readline, ""):
        if line.strip():
            session.carry_out(line)
    wire.close()
    return 0


def prepare_environment():
    """Where compiled kernels are kept, unless the user has said so: only FlashAttention 4 needs to be asked to keep them."""
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "attention-backend-diagnostics")
    os.environ.setdefault("FLASH_ATTENTION_CUTE_DSL_CACHE_ENABLED", "1")
    os.environ.setdefault("FLASH_ATTENTION_CUTE_DSL_CACHE_DIR", os.path.join(cache, "flash-attention-4"))


class BadRequest(Exception):
    pass


def parse_request(line):
    """The request as a dictionary; BadRequest says what is wrong with it."""
    try:
        request = json.loads(line)
    except ValueError as error:
        raise BadRequest("The request is not JSON: {}".format(error))
    if not isinstance(request, dict):
        raise BadRequest("The request is not a JSON object.")
    if request.get("protocolVersion") != PROTOCOL_VERSION:
        text = "The request speaks protocol version {!r}; this runner speaks {}."
        raise BadRequest(text.format(request.get("protocolVersion"), PROTOCOL_VERSION))
    if request.get("command") not in ("describe", "warm", "run"):
        raise BadRequest("There is no command {!r}.".format(request.get("command")))
    if request.get("engine") not in registry.ENGINES:
        raise BadRequest("There is no engine {!r}.".format(request.get("engine")))
    if request["command"] != "describe":
        for name, kind in (("deviceId", str), ("cases", list), ("options", dict)):
            if not isinstance(request.get(name), kind):
                raise BadRequest("The request has no usable {!r}.".format(name))
        for item in request["cases"]:
            if not isinstance(item, dict) or not isinstance(item.get("caseIndex"), int) or not isinstance(item.get("case"), dict):
                raise BadRequest("A case of the request has no caseIndex or no case.")
    return request


class Session(object):
    """Keeps what was imported from one request to the next, and the last case where the caller comes back to it."""

    def __init__(self, wire):
        self.wire = wire
        self.adapters = {}
        self.devices = {}
        # (engine, device, case): the CaseRunner that has it prepared
        self.held = None

    def carry_out(self, line):
        try:
            request = parse_request(line)
        except BadRequest as error:
            self.wire.library(False, why=reason("badRequest", error))
            self.wire.done()
            return
        engine, command = request["engine"], request["command"]
        on_cpu = command != "describe" and request["deviceId"] == "cpu"
        if on_cpu and not registry.runs_on_cpu(engine):
            self.wire.library(False, why=reason("needsGpu", "It needs a CUDA GPU; the device chosen is the CPU."))
            self.wire.done()
            return
        adapter = self._load(engine)
        if adapter is not None:
            self._with_device(adapter, request, on_cpu)
        self.wire.done()

    def _load(self, engine):
        """The adapter with its library imported; None after saying why not."""
        if engine in self.adapters:
            return self.adapters[engine]
        self.wire.phase(None, "import")
        adapter = None
        try:
            import_torch()
            adapter = registry.make_adapter(engine)
            adapter.load()
        except Unavailable as error:
            why = reason(error.code, error.text)
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:
            why = reason(*explain_import(error))
        else:
            # Libraries may have put handlers of their own in place.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            # torch alone is a million objects, which no collection after a case need look through
            gc.collect()
            gc.freeze()
            self.adapters[engine] = adapter
            return adapter
        version = dist_version(adapter.dist) if adapter is not None else None
        self.wire.library(False, version, torch_version(), why)
        return None

    def _with_device(self, adapter, request, on_cpu):
        device = None
        if request["command"] != "describe":
            try:
                device = self._device(request["deviceId"], on_cpu)
            except Unavailable as error:
                self.wire.library(False, adapter.version(), torch_version(), reason(error.code, error.text))
                return
        self.wire.library(True, adapter.version(), torch_version())
        if device is None:
            return
        for item in request["cases"]:
            self.wire.row(item["caseIndex"], self._turn(adapter, device, request, item))
            if device.lost():
                os._exit(EXIT_DEVICE_LOST)  # without "done"; destructors would hang on the dead context

    def _turn(self, adapter, device, request, item):
        """The result of one case, which stays prepared while the request says so and everything went well."""
        key = (request["engine"], request["deviceId"], json.dumps(item["case"], sort_keys=True))
        running = request["command"] == "run"
        if self.held is not None and not (running and self.held[0] == key):
            self.held = None
            release(device)
        if self.held is not None:
            answer = self.held[1].again(request, item["caseIndex"])
        else:
            self.held = (key, CaseRunner(self.wire, adapter, device))
            answer = self.held[1].first(request, item["caseIndex"], item["case"])
        if not (running and request["options"]["hold"] and answer["status"] == "ok"):
            self.held = None
            release(device)
        return answer

    def _device(self, device_id, on_cpu):
        if device_id not in self.devices:
            from . import device

            self.devices[device_id] = device.Cpu() if on_cpu else device.Gpu(device_id)
        return self.devices[device_id]


def release(device):
    """Gives back what the last case used."""
    gc.collect()
    device.release()


def import_torch():
    if importlib.util.find_spec("torch") is None:
        raise Unavailable("noTorch", "torch is not installed in this environment.")
    import torch  # noqa: F401


def torch_version():
    torch = sys.modules.get("torch")
    return str(torch.__version__) if hasattr(torch, "__version__") else None


class CaseRunner(object):
    """One case through one library: prepare, check, time; and again, with what the first time has prepared."""

    def __init__(self, wire, adapter, device):
        self.wire = wire
        self.adapter = adapter
        self.device = device
        self.stage = "prepare"
        self.fields = {}
        self.timer = None

    def phase(self, name):
        self.wire.phase(self.index, name)

    def first(self, request, index, case):
        """The result of a case that is new."""
        self._take(request, index)
        try:
            problem = Problem(case)
        except BadCase as error:
            return result("unsupported", reason(error.code, error))
        except (KeyError, TypeError, ValueError) as error:
            text = "The case is not understood: {}: {}".format(type(error).__name__, error)
            return result("failed", reason("badCase", text))
        return self._guarded(lambda: self._first(problem, request["command"] == "warm"))

    def again(self, request, index):
        """The result of the same case: inputs, reference and plan are there; the output is new, and compared anew."""
        self._take(request, index)
        return self._guarded(self._again)

    def _take(self, request, index):
        self.options = request["options"]
        self.ceilings = request.get("ceilings") or {}
        self.index = index

    def _guarded(self, work):
        import torch

        try:
            with torch.no_grad():
                return work()
        except Refused as error:
            return self._ended("unsupported", "refusedByAdapter", error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # SystemExit too: a library that gives up in a call must not end the run
            status, code, text = classify(error, self.stage, self.device)
            traceback.print_exc(file=sys.stderr)
            # the traceback's frames hold tensors
            error.__traceback__ = None
            return self._ended(status, code, text)

    def _ended(self, status, code=None, text=None):
        fields = self.fields
        if status != "ok":
            timed = ("gpuMs", "hostUs", "tflops", "tbps", "percentOfCeiling", "ceiling", "smClockMHz")
            fields = {name: value for name, value in fields.items() if name not in timed}
        return result(status, reason(code, text) if code else None, **fields)

    def _first(self, problem, warm):
        ended = self._too_large(problem) or self._allocate(problem)
        if ended is not None:
            return ended
        value = self._first_call(problem)
        if warm:
            return self._ended("ok")
        return self._check(value, self._reference()) or self._time()

    def _again(self):
        self.fields["jitMs"] = None
        self.phase("check")
        self.stage = "call"
        return self._check(self._call(), self.expected) or self._time()

    def _too_large(self, problem):
        """A result for what is not even tried; None for everything else."""
        import torch

        from . import inputs

        self.adapter.supports(problem)
        if self.device.name == "cpu" and problem.flops() > MAX_CPU_FLOPS and not self.options.get("allowSlowCpu"):
            text = "Too large for the CPU: {:.0f} GFLOP, the limit is {:.0f}. Choose a smaller case, or allow slow CPU runs."
            return result("unsupported", reason("tooLargeForCpu", text.format(problem.flops() / 1e9, MAX_CPU_FLOPS / 1e9)))
        if problem.fp8 and inputs.FP8 is None:
            raise Refused("This torch ({}) has no float8_e4m3fn type.".format(torch.__version__))
        return None

    def _allocate(self, problem):
        """Makes inputs and output; a result when they would take more than the run may use."""
        import torch

        from . import inputs

        self.phase("allocate")
        on_gpu = self.device.name == "cuda"
        self.problem = problem
        self.once = problem.out_bytes() * 2 + self.adapter.workspace_bytes(problem) + (256 << 20 if on_gpu else 0)
        free = self.device.free_bytes()
        self.allowed = None if free is None else free * self.options["maxMemoryFraction"]
        if self.allowed is not None and self.once + problem.set_bytes() > self.allowed:
            needed = (self.once + problem.set_bytes()) / 2**30
            text = (
                "This case needs about {:.2f} GiB of memory; the run may use {:.2f} GiB. "
                "Make it smaller, free memory, or raise the memory share."
            )
            return result("outOfMemory", reason("memoryLimit", text.format(needed, self.allowed / 2**30)))
        if on_gpu:
            self.device.limit_memory(self.allowed)
        place = self.device.torch_device
        self.tensors = inputs.make_tensors(problem, place)
        self.tables = inputs.Tables(problem, place)
        shape = (problem.q_tokens, problem.q_heads, problem.head_dim_v)
        self.out = torch.full(shape, float("nan"), dtype=inputs.DTYPES[problem.dtype], device=place)
        self.device.synchronize()
        return None

    def _first_call(self, problem):
        """What the first call returns; says how long it took, with all that was compiled for it."""
        self.phase("jit")
        self.stage = "call"
        start = time.perf_counter()
        with Warnings() as said:
            try:
                self.prepared = self.adapter.prepare(problem, self.tables, self.out, self.device)
                self.call = self.prepared.bind(self.tensors)
                value = self._call()
            except RuntimeError as error:
                raise said.explain(error)
        self.fields["jitMs"] = (time.perf_counter() - start) * 1e3
        self.fields["kernel"] = {
            "name": self.prepared.kernel,
            "headDimTile": None,
            "target": self.device.target,
            "numSplits": None,
        }
        return value

    def _call(self):
        """One call whose output cannot be that of an earlier one."""
        self.out.fill_(float("nan"))
        poison_allocator(self.out)
        with self.prepared.scope():
            value = self.call()
        self.device.synchronize()
        return value

    def _reference(self):
        from . import reference

        self.phase("check")
        self.stage = "check"
        checked = self.options["checkRows"]
        rows = self.problem.sample_rows(None if checked == "all" else checked)
        sinks = self.prepared.sinks_type
        self.expected = reference.compute_reference(self.problem, rows, self.device.torch_device, sinks)
        return self.expected

    def _check(self, value, expected):
        """A result when what came back is wrong; None when it is right."""
        from . import inputs

        self.stage = "check"
        verdict = self._judge(value, expected)
        if not verdict.finite and self.problem.pages is not None:
            # A library may multiply what it should not see by zero; a serving engine keeps numbers there, and so it works.
            inputs.clear_unused(self.problem, self.tensors, self.device.torch_device)
            self.stage = "call"
            value = self._call()
            verdict = self._judge(value, expected)
            self.fields["kernel"]["name"] += ", unused page slots zeroed"
        self.fields.update(
            relError=verdict.rel_error,
            roundingFloor=verdict.floor,
            lseError=verdict.lse_error,
            checkedRows=len(expected.rows),
        )
        return self._ended("wrong", *verdict.problem) if verdict.problem is not None else None

    def _judge(self, value, expected):
        from . import reference

        got, lse = self.prepared.unpack(value)
        return reference.judge(self.problem, expected, got, lse if self.problem.lse else None)

    def _time(self):
        if self.options["checkOnly"]:
            return self._ended("ok")
        self.stage = "time"
        with self.prepared.scope():
            if self.device.name == "cuda":
                self._time_gpu()
            else:
                self._time_cpu()
        self._rates()
        return self._ended("ok")

    def _time_gpu(self):
        from .timing import GpuTimer

        if self.timer is None:
            # copies of the inputs, so that no launch finds its own in the L2 cache
            one = max(1, self.problem.set_bytes())
            wanted = -(-4 * self.device.l2_bytes // one)
            room = (self.allowed - self.once) // one
            copies = int(max(1, min(wanted, 128, room)))
            calls = [self.call] + [self.prepared.bind(self.tensors.copy()) for _ in range(copies - 1)]
            self.timer = GpuTimer(calls)
        timing, host_us, mhz = self.timer.run(self.options, self.phase, self.device.clock_mhz)
        self.fields.update(gpuMs=timing, hostUs=host_us, smClockMHz=mhz, contended=self.device.contended())

    def _time_cpu(self):
        from .timing import time_on_cpu

        start = time.perf_counter()
        self.call()
        first_ms = (time.perf_counter() - start) * 1e3
        self.fields["gpuMs"] = time_on_cpu(self.call, first_ms, self.options, self.phase)

    def _rates(self):
        seconds = self.fields["gpuMs"]["median"] * 1e-3
        self.fields["tflops"] = self.problem.flops() / seconds * 1e-12
        self.fields["tbps"] = self.problem.kv_bytes() / seconds * 1e-12
        by_memory = self.problem.counts_bytes
        ceiling = self.ceilings.get("readStreamTbps" if by_memory else "tensorCoreTflops")
        if ceiling and self.device.name == "cuda":
            self.fields["ceiling"] = "readStream" if by_memory else "tensorCore"
            self.fields["percentOfCeiling"] = 100.0 * self.fields["tbps" if by_memory else "tflops"] / ceiling


def poison_allocator(out):
    """Leaves NaNs in the memory that a library's own output is likely to be given, so that what it does not write shows."""
    import torch

    blocks = [torch.full_like(out, float("nan")) for _ in range(2)]
    del blocks


class Warnings(object):
    """Keeps what is warned about meanwhile: torch says there why no kernel of it would take a case."""

    def __enter__(self):
        self._catcher = warnings.catch_warnings(record=True)
        self._kept = self._catcher.__enter__()
        warnings.simplefilter("always")
        return self

    def __exit__(self, *exception):
        self._catcher.__exit__(*exception)

    def explain(self, error):
        """The error, with the warnings' words when its own say nothing."""
        if "No available kernel" not in str(error):
            return error
        said = []
        for item in self._kept:
            text = str(item.message).split(" (Triggered internally")[0].strip()
            if text not in said and "kernel not used because" not in text and "has been runtime disabled" not in text:
                said.append(text)
        return RuntimeError(" ".join([str(error).strip()] + said))


def classify(error, stage, device):
    """(status, code, text) of what a call raised: refused, out of memory, device lost, called wrongly, or failed."""
    words = "{}: {}".format(type(error).__name__, TORCH_ADVICE.split(str(error))[0])
    if isinstance(error, AssertionError) and not str(error):
        words = "AssertionError: {}".format(failed_line(error))
    name = type(error).__name__
    if "OutOfMemory" in name or isinstance(error, MemoryError) or OUT_OF_MEMORY.search(str(error)):
        return "outOfMemory", "outOfMemory", words
    if device.lost():
        return "crashed", "deviceLost", "The library lost the GPU: its process has to end. " + words
    if CUDA_FAILED.search(words):
        return "failed", "cudaError", words
    if isinstance(error, (SystemExit, KeyboardInterrupt)):
        return "failed", "libraryExited", "The library tried to end the process. " + words
    if NO_COMPILER.search(words):
        return "failed", "noCompiler", "The library compiles its kernels here and found no compiler. " + words
    if stage != "call":
        return "failed", "failed", words
    if isinstance(error, (TypeError, RuntimeError)) and MISCALLED.search(str(error)):
        return "failed", "adapterMismatch", "This version of the library takes other arguments than are known of it. " + words
    if isinstance(error, (AttributeError, NameError, ImportError)):
        return "failed", "libraryFailed", words
    return "unsupported", "refusedByLibrary", words


def failed_line(error):
    """The source line of a bare assertion, which is all the library says."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "(no text)"
    last = frames[-1]
    line = last.line or linecache.getline(last.filename, last.lineno).strip()
    return "{} ({}:{})".format(line, os.path.basename(last.filename), last.lineno)
