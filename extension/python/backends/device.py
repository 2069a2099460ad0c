"""The device a request names, as torch and the driver's management library see it."""
import ctypes
import os

import torch

from .wire import Unavailable, shorten

OUT_OF_MEMORY = getattr(torch, "OutOfMemoryError", torch.cuda.OutOfMemoryError)


class Cpu(object):
    """Wall times, no clock, no other process to notice."""

    name = "cpu"
    target = "cpu"

    def __init__(self):
        self.torch_device = torch.device("cpu")

    def free_bytes(self):
        try:
            with open("/proc/meminfo") as handle:
                fields = dict(line.split(":", 1) for line in handle)
            return int(fields["MemAvailable"].split()[0]) * 1024
        except (OSError, KeyError, ValueError):
            return None

    def synchronize(self):
        pass

    def release(self):
        pass

    def lost(self):
        return False


class Gpu(object):
    """One CUDA device, chosen by its UUID."""

    name = "cuda"

    def __init__(self, uuid):
        index = _index_of(uuid)
        torch.cuda.set_device(index)
        self.torch_device = torch.device("cuda", index)
        properties = torch.cuda.get_device_properties(index)
        self.target = "on sm_{}{}".format(properties.major, properties.minor)
        self.l2_bytes = getattr(properties, "L2_cache_size", 0) or 64 << 20
        try:
            (torch.ones(1, device=self.torch_device) + 1).item()
        except RuntimeError as error:
            raise Unavailable(
                "wrongCuda",
                "torch {} cannot run on this {}: {}".format(torch.__version__, properties.name, shorten(error)),
            )
        self._nvml = Nvml(uuid)
        self._processes_before = self._nvml.processes()
        self._busy_before = self._nvml.utilization() not in (None, 0)

    def free_bytes(self):
        """Free on the device, with what torch holds in reserve for itself."""
        free = torch.cuda.mem_get_info(self.torch_device)[0]
        return free + torch.cuda.memory_reserved(self.torch_device) - torch.cuda.memory_allocated(self.torch_device)

    def limit_memory(self, bytes_allowed):
        """Makes torch refuse to take more than this, also for what a library asks it for."""
        total = torch.cuda.mem_get_info(self.torch_device)[1]
        share = (torch.cuda.memory_allocated(self.torch_device) + bytes_allowed) / total
        torch.cuda.set_per_process_memory_fraction(min(1.0, max(0.001, share)), self.torch_device)

    def synchronize(self):
        torch.cuda.synchronize(self.torch_device)

    def release(self):
        torch.cuda.empty_cache()

    def lost(self):
        """A fault on the device stays with the process: nothing works any more."""
        try:
            torch.cuda.synchronize(self.torch_device)
            return (torch.ones(1, device=self.torch_device) + 1).item() != 2
        except Exception:
            return True

    def clock_mhz(self):
        return self._nvml.sm_clock()

    def contended(self):
        """As the native runner tells it: other processes while the GPU was busy before, or more of them than at the start."""
        now, before = self._nvml.processes(), self._processes_before
        if now is None or before is None:
            return False
        return (now > 1 and self._busy_before) or now > before


def _index_of(uuid):
    """torch's index of a GPU; raises Unavailable with what is in the way."""
    if torch.version.cuda is None:
        if getattr(torch.version, "hip", None):
            raise Unavailable("notCuda", "This torch is a ROCm build ({}); a CUDA build is needed.".format(torch.__version__))
        raise Unavailable(
            "cpuOnlyTorch",
            "This torch ({}) is a CPU-only build; install a CUDA build of it to measure the GPU.".format(torch.__version__),
        )
    try:
        torch.cuda.init()
    except Exception as error:
        words = shorten(error)
        if "too old" in words or "insufficient" in words:
            raise Unavailable(
                "wrongCuda",
                "This torch is built for CUDA {}, which the installed NVIDIA driver does not run: {}".format(
                    torch.version.cuda, words
                ),
            )
        raise Unavailable("noDevice", "torch {} finds no CUDA GPU: {}".format(torch.__version__, words))
    count = torch.cuda.device_count()
    found = [_uuid(i) for i in range(count)]
    wanted = _plain(uuid)
    if wanted in found:
        return found.index(wanted)
    # A MIG slice is named by the environment; torch then shows that slice alone.
    if count == 1 and wanted in [_plain(name) for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]:
        return 0
    raise Unavailable(
        "noDevice",
        "torch does not see the GPU {} among its {} device(s){}.".format(
            uuid, count, "; CUDA_VISIBLE_DEVICES is set" if "CUDA_VISIBLE_DEVICES" in os.environ else ""
        ),
    )


def _plain(uuid):
    text = uuid.strip().lower()
    return text[4:] if text.startswith(("gpu-", "mig-")) else text


def _uuid(index):
    properties = torch.cuda.get_device_properties(index)
    if hasattr(properties, "uuid"):
        return _plain(str(properties.uuid))
    return Nvml.uuid_of_index(index)


class Nvml(object):
    """The few questions asked of the driver's management library; every answer may be None."""

    def __init__(self, uuid):
        self._library = self._open()
        self._device = None
        if self._library is not None:
            handle = ctypes.c_void_p()
            name = uuid.encode("ascii", "replace")
            if self._library.nvmlDeviceGetHandleByUUID(name, ctypes.byref(handle)) == 0:
                self._device = handle

    @staticmethod
    def _open():
        try:
            library = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError:
            return None
        return library if library.nvmlInit_v2() == 0 else None

    @staticmethod
    def uuid_of_index(index):
        """For a torch that does not tell UUIDs; right unless CUDA_VISIBLE_DEVICES reorders."""
        library = Nvml._open()
        if library is None or os.environ.get("CUDA_VISIBLE_DEVICES"):
            return None
        handle, text = ctypes.c_void_p(), ctypes.create_string_buffer(96)
        if library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) != 0:
            return None
        return _plain(text.value.decode()) if library.nvmlDeviceGetUUID(handle, text, 96) == 0 else None

    def sm_clock(self):
        if self._device is None:
            return None
        mhz = ctypes.c_uint()
        clock_sm = 1
        return mhz.value if self._library.nvmlDeviceGetClockInfo(self._device, clock_sm, ctypes.byref(mhz)) == 0 else None

    def utilization(self):
        """Percent of the last sample period in which a kernel ran."""
        if self._device is None:
            return None

        class Rates(ctypes.Structure):
            _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]

        rates = Rates()
        return rates.gpu if self._library.nvmlDeviceGetUtilizationRates(self._device, ctypes.byref(rates)) == 0 else None

    def processes(self):
        """How many compute processes use the GPU, this one among them."""
        if self._device is None:
            return None
        count = ctypes.c_uint(0)
        code = self._library.nvmlDeviceGetComputeRunningProcesses_v3(self._device, ctypes.byref(count), None)
        insufficient_size = 7
        return count.value if code in (0, insufficient_size) else None
