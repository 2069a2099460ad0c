"""Times of repeated launches, by the native runner's method (native/src/gpu_session.cc and cpu_session.cc)."""
import math
import time

import torch

# A timed batch is at least this long, so that the events' resolution does not count.
BATCH_MS = 5.0
# So many batches at least, fewer where less time is asked for: one for each BATCH_SHARE_MS of it.
MIN_BATCHES = 10
FEWEST_BATCHES = 3
BATCH_SHARE_MS = 20.0
MAX_BATCHES = 200
MIN_BATCHES_BUDGET_MS = 4000.0
HOST_LAUNCHES = 50
FEWEST_HOST_LAUNCHES = 5
# Launches whose host time is measured take this much of the GPU's time at most.
HOST_SHARE = 0.25
MAX_LAUNCHES = 4000
# The driver holds about a thousand launches; a call may make a few.
MAX_QUEUED = 200
# Spinning this many clock cycles keeps the GPU busy for a millisecond or less on every GPU there is.
CYCLES_PER_MS = 2000000

CPU_MIN_RUNS = 3
CPU_MAX_RUNS = 1000
CPU_MAX_TIMED_MS = 2000.0


def summarize(times):
    """Median, 10th and 90th percentile (interpolated), and how many."""
    ordered = sorted(times)

    def at(share):
        position = share * (len(ordered) - 1)
        below = int(position)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (position - below) * (ordered[above] - ordered[below])

    return {"median": at(0.5), "p10": at(0.1), "p90": at(0.9), "runs": len(ordered)}


def launches_for(ms, target_ms):
    return int(min(max(1.0, math.ceil(target_ms / max(ms, 1e-4))), MAX_LAUNCHES))


def fewest_batches(target_ms):
    return int(min(max(FEWEST_BATCHES, target_ms / BATCH_SHARE_MS), MIN_BATCHES))


class GpuTimer(object):
    """Times `calls` (the same launch on different copies of the inputs, taken in turn) on the current stream."""

    def __init__(self, calls):
        self.calls = calls
        self.turn = 0
        self.begin = torch.cuda.Event(enable_timing=True)
        self.end = torch.cuda.Event(enable_timing=True)
        # Microseconds the host spends per call, and milliseconds of one; known after the first run.
        self.host_us = None
        self.ms = None

    def launch(self, count):
        calls, turn, total = self.calls, self.turn, len(self.calls)
        for i in range(turn, turn + count):
            calls[i % total]()
        self.turn = (turn + count) % total

    def batch(self, count, held_back_ms=0.0, meanwhile=None):
        """Milliseconds per launch. The GPU is held back first for as long as the host needs to queue everything: a call that
        costs more host time than GPU time would be timed as its host time otherwise. `meanwhile` is called while it works."""
        if held_back_ms > 0:
            torch.cuda._sleep(int(held_back_ms * CYCLES_PER_MS))
        self.begin.record()
        self.launch(count)
        self.end.record()
        if meanwhile is not None:
            meanwhile()
        self.end.synchronize()
        return self.begin.elapsed_time(self.end) / count

    def time_host(self, budget_ms):
        """Microseconds the host spends on a call, queued back to back on an idle stream: the median, because the first calls
        after a pause may wait for a sleeping driver thread."""
        torch.cuda.synchronize()
        spent = []
        for _ in range(max(FEWEST_HOST_LAUNCHES, min(HOST_LAUNCHES, launches_for(self.ms, budget_ms)))):
            start = time.perf_counter()
            self.launch(1)
            spent.append(time.perf_counter() - start)
        torch.cuda.synchronize()
        return summarize(spent)["median"] * 1e6

    def run(self, options, on_phase, clock):
        """(timing, hostUs, smClockMHz). `clock` reads the SM clock."""
        target_ms = options["targetMs"]
        on_phase("warmup")
        start = time.monotonic()
        if self.ms is None:
            self.ms = self.batch(1)
        while True:
            self.ms = self.batch(launches_for(self.ms, min(2 * BATCH_MS, max(1.0, options["warmupMs"]))))
            if (time.monotonic() - start) * 1e3 >= options["warmupMs"]:
                break
        on_phase("time")
        if self.host_us is None:
            self.host_us = self.time_host(min(100.0, HOST_SHARE * target_ms))
        host_ms = self.host_us * 1e-3
        held_per_launch = 0.0
        if hasattr(torch.cuda, "_sleep") and host_ms > 0.5 * self.ms:
            held_per_launch = 1.3 * host_ms
            self.ms = self.batch(20, 20 * held_per_launch + 0.2)
        launches = launches_for(self.ms, BATCH_MS)
        held = 0.0
        if held_per_launch > 0:
            launches = min(launches, MAX_QUEUED)
            held = launches * held_per_launch + 0.2
        clocks = []
        times = []
        total = 0.0
        fewest = fewest_batches(target_ms)
        while len(times) < MAX_BATCHES and (
            total < target_ms or (len(times) < fewest and (total < MIN_BATCHES_BUDGET_MS or len(times) < FEWEST_BATCHES))
        ):
            # read once, while the kernels of a later batch run
            look = (lambda: clocks.append(clock())) if len(times) == 1 else None
            ms = self.batch(launches, held, look)
            times.append(ms)
            total += ms * launches
        return summarize(times), self.host_us, clocks[0]


def time_on_cpu(call, first_ms, options, on_phase):
    """Wall times of `call`, which has run once in `first_ms`."""
    on_phase("warmup")
    spent = first_ms
    while spent < options["warmupMs"]:
        start = time.perf_counter()
        call()
        spent += (time.perf_counter() - start) * 1e3
    on_phase("time")
    times = []
    spent = 0.0
    while len(times) < CPU_MAX_RUNS and (
        not times or spent < options["targetMs"] or (len(times) < CPU_MIN_RUNS and spent < CPU_MAX_TIMED_MS)
    ):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
        spent += times[-1]
    return summarize(times)
