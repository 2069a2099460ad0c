"""Asks the installed vLLM itself: its priority list, each backend's validate_configuration, its selector and its
FlashAttention version resolver, for a list of layer questions.

Reads one JSON request on stdin, imports vLLM, and prints one marked line with the answers. Starts no engine, loads no weights,
opens no network connection (connecting is refused, and which host was asked for is told), writes only below the scratch folder
it is given. What a release does not know is said to be unsupported. Without a GPU it answers for a stated compute capability
and lists under "standIns" everything it had to put in the place of hardware or driver.

The file parses under any Python (no f-strings, no annotations), so that one that is too old can say so.
"""
import sys

MARKER = "attn-diag-validate:"
PROGRESS = "attn-diag-validate-progress:"
SCHEMA = "attn-diag-validate/1"
REQUEST_SCHEMA = "attn-diag-validate-request/1"

MAX_REQUEST_BYTES = 16 * 1024 * 1024
TEXT_LIMIT = 2000

# Modules moved over the releases; newest place first.
REGISTRY_MODULES = ("vllm.v1.attention.backends.registry", "vllm.attention.backends.registry")
SELECTOR_MODULES = ("vllm.v1.attention.selector", "vllm.attention.selector")
RESOLVER_MODULES = ("vllm.v1.attention.backends.fa_utils", "vllm.attention.utils.fa_utils")
FLASHMLA_MODULES = ("vllm.v1.attention.ops.flashmla", "vllm.attention.ops.flashmla")

# Fields of a layer question and the parameter that a release knows them by.
REQUEST_FIELDS = {
    "headSize": "head_size",
    "dtype": "dtype",
    "kvCacheDtype": "kv_cache_dtype",
    "blockSize": "block_size",
    "useMla": "use_mla",
    "hasSink": "has_sink",
    "useSparse": "use_sparse",
    "useMmPrefix": "use_mm_prefix",
    "usePerHeadQuantScales": "use_per_head_quant_scales",
    "attnType": "attn_type",
    "hasSlidingWindow": "has_sliding_window",
    "useNonCausal": "use_non_causal",
    "useBatchInvariant": "use_batch_invariant",
    "useKvConnector": "use_kv_connector",
    "usePcp": "use_pcp",
    "useAdaptiveVerification": "use_adaptive_verification",
    "useDcp": "use_dcp",
    "useRswa": "use_rswa",
    "numHeads": "num_heads",
}
# Values that ask for nothing: a release that does not know the field answers the same question.
NEUTRAL = (None, False, "decoder")
RESOLVER_FIELDS = {
    "requiresAlibi": "requires_alibi",
    "headSize": "head_size",
    "headSizeV": "head_size_v",
    "hasSinks": "has_sinks",
    "requiresSoftcap": "requires_softcap",
    "kvCacheBlockSize": "kv_cache_block_size",
    "supportsFa4Hd256": "supports_fa4_hd256",
    "requiresLocalAttention": "requires_local_attention",
}
CONFIG_FIELDS = {
    "backend": "backend",
    "flashAttnVersion": "flash_attn_version",
    "backendPerKind": "backend_per_kind",
    "useTrtllmAttention": "use_trtllm_attention",
    "useNonCausal": "use_non_causal",
}
# Up to 0.12.0 there is no AttentionConfig; these variables are the setting.
CONFIG_VARIABLES = {
    "backend": "VLLM_ATTENTION_BACKEND",
    "flashAttnVersion": "VLLM_FLASH_ATTN_VERSION",
    "useTrtllmAttention": "VLLM_USE_TRTLLM_ATTENTION",
}


class Refusal(Exception):
    """The question cannot be asked here; the text is one plain sentence without a full stop."""

    def __init__(self, stage, text):
        Exception.__init__(self, text)
        self.stage = stage
        self.text = text


def describe(error):
    """An exception as one short line: its class and text."""
    text = " ".join(str(error).split())
    name = type(error).__name__
    return ("{}: {}".format(name, text) if text else name)[:TEXT_LIMIT]


def camel(name):
    """head_size -> headSize; the names that requests use where they differ."""
    for fields in (REQUEST_FIELDS, RESOLVER_FIELDS):
        for ours, theirs in fields.items():
            if theirs == name:
                return ours
    parts = name.split("_")
    return parts[0] + "".join(part.capitalize() for part in parts[1:])


class Channel(object):
    """The answer's own way out: vLLM logs to stdout, so stdout becomes stderr and the old one is kept here."""

    def __init__(self):
        import os

        sys.stdout.flush()
        self.handle = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def send(self, marker, document):
        import json

        self.handle.write("\n" + marker + json.dumps(document, ensure_ascii=True, sort_keys=True) + "\n")
        self.handle.flush()

    def progress(self, stage, done=None, total=None):
        self.send(PROGRESS, {"stage": stage, "done": done, "total": total})


# --- what is kept out: network, caches ---


class Network(object):
    """Refuses every connection that leaves the machine, and remembers who was asked for."""

    def __init__(self):
        self.refused = []
        self.attempts = 0

    def refuse(self, place):
        self.attempts += 1
        text = str(place)[:200]
        if text not in self.refused and len(self.refused) < 50:
            self.refused.append(text)
        raise OSError("the network is off while vLLM is asked about its backends")

    def install(self):
        import socket

        connect, connect_ex = socket.socket.connect, socket.socket.connect_ex
        local = getattr(socket, "AF_UNIX", None)

        def guarded(call):
            def checked(instance, address):
                if instance.family != local:
                    self.refuse(address[0] if isinstance(address, tuple) and address else address)
                return call(instance, address)

            return checked

        def lookup(host, *args, **kwargs):
            return self.refuse(host)

        socket.socket.connect = guarded(connect)
        socket.socket.connect_ex = guarded(connect_ex)
        socket.getaddrinfo = lookup
        socket.gethostbyname = lookup


def set_environment(request):
    """Variables of the request, and everything that would phone home or write outside the scratch folder switched off."""
    import os

    for name, value in request["env"].items():
        os.environ[name] = value
    os.environ.update(
        {
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "VLLM_LOGGING_LEVEL": "INFO",
        }
    )
    scratch = request["scratch"]
    places = {
        "VLLM_CACHE_ROOT": "vllm",
        "VLLM_CONFIG_ROOT": "vllm-config",
        "TRITON_CACHE_DIR": "triton",
        "TORCHINDUCTOR_CACHE_DIR": "inductor",
        "FLASHINFER_WORKSPACE_BASE": "flashinfer",
        "XDG_CACHE_HOME": "cache",
        "MPLCONFIGDIR": "matplotlib",
    }
    for name, folder in places.items():
        os.environ[name] = os.path.join(scratch, folder)


# --- what stands in for hardware ---


def empty_library(soname):
    """The bytes of a 64-bit shared library with a name and no content.

    vLLM's compiled extensions name libcuda.so.1, which only a driver brings. Loaded before them and with lazy binding, this
    lets them register their operations; calling one would fail, and nothing here calls one.
    """
    import platform
    import struct

    machine = {"x86_64": 62, "AMD64": 62, "aarch64": 183, "arm64": 183}.get(platform.machine())
    if machine is None:
        raise Refusal("driver", "no stand-in for libcuda.so.1 on {}".format(platform.machine()))
    strings = b"\0" + soname.encode("ascii") + b"\0"
    headers_at, hash_at = 64, 64 + 2 * 56
    symbols_at = hash_at + 16 + 8  # Hash table: one bucket, one chain; kept 8-byte aligned.
    strings_at = symbols_at + 24
    dynamic_at = (strings_at + len(strings) + 7) // 8 * 8
    entries = [(14, 1), (4, hash_at), (5, strings_at), (6, symbols_at), (10, len(strings)), (11, 24), (0, 0)]
    size = dynamic_at + 16 * len(entries)
    blob = bytearray(size)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    struct.pack_into("<16sHHIQQQIHHHHHH", blob, 0, ident, 3, machine, 1, 0, headers_at, 0, 0, 64, 56, 2, 64, 0, 0)
    struct.pack_into("<IIQQQQQQ", blob, headers_at, 1, 6, 0, 0, 0, size, size, 65536)
    length = 16 * len(entries)
    struct.pack_into("<IIQQQQQQ", blob, headers_at + 56, 2, 6, dynamic_at, dynamic_at, dynamic_at, length, length, 8)
    struct.pack_into("<IIII", blob, hash_at, 1, 1, 0, 0)
    blob[strings_at : strings_at + len(strings)] = strings
    for index, entry in enumerate(entries):
        struct.pack_into("<qQ", blob, dynamic_at + 16 * index, *entry)
    return bytes(blob)


def stand_in_for_driver(scratch, stand_ins):
    """Where there is no libcuda.so.1, an empty one, so that vLLM's compiled extensions load."""
    import ctypes
    import os

    # Functions of a driver that is not here, or of a library that only pretends to be it, are never called.
    sys.setdlopenflags(os.RTLD_LAZY)
    try:
        ctypes.CDLL("libcuda.so.1", mode=ctypes.RTLD_GLOBAL)
        return
    except OSError:
        pass
    path = os.path.join(scratch, "libcuda.so.1")
    with open(path, "wb") as handle:
        handle.write(empty_library("libcuda.so.1"))
    try:
        ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise Refusal("driver", "there is no NVIDIA driver here and nothing can stand in for it ({})".format(describe(error)))
    stand_ins.append("libcuda.so.1: an empty library, because this machine has no NVIDIA driver")


class StatedProperties(object):
    """Properties of a device that is not here; only the capability is meant."""

    def __init__(self, capability):
        self.name = "compute capability {}.{}, stated".format(*capability)
        self.major, self.minor = capability
        self.total_memory = 80 << 30
        self.multi_processor_count = 132
        self.is_integrated = False
        self.regs_per_multiprocessor = 65536
        self.max_threads_per_multi_processor = 2048
        self.shared_memory_per_block = 49152
        self.shared_memory_per_block_optin = 232448
        self.shared_memory_per_multiprocessor = 233472
        self.warp_size = 32


def stand_in_for_device(torch, capability, stand_ins):
    """torch.cuda answers for a device that is not here; memory that is asked for on it lies in the CPU's."""
    properties = StatedProperties(capability)
    torch.cuda.get_device_properties = lambda device=None: properties
    torch.cuda.get_device_name = lambda device=None: properties.name
    torch.cuda.current_device = lambda: 0
    torch.cuda.device_count = lambda: 1
    stand_ins.append("torch.cuda: one device with the stated capability and the memory and size of no real one")

    def on_cpu(call):
        def made(*args, **kwargs):
            if str(kwargs.get("device", "")).startswith("cuda"):
                kwargs["device"] = "cpu"
            kwargs.pop("pin_memory", None)
            return call(*args, **kwargs)

        return made

    for name in ("empty", "zeros", "ones", "full", "tensor", "arange"):
        setattr(torch, name, on_cpu(getattr(torch, name)))
    stand_ins.append("torch.empty and its like: memory asked for on a GPU lies in the CPU's")
    try:
        from triton.backends import backends

        for backend in backends.values():
            driver = getattr(backend, "driver", None)
            if driver is not None:
                active = "nvidia" in getattr(driver, "__module__", "")
                driver.is_active = staticmethod(lambda active=active: active)
        stand_ins.append("Triton: its NVIDIA driver says that it is active")
    except Exception:
        pass


def state_capability(torch, platform_class, capability, stand_ins):
    """The platform class and torch answer with the stated capability."""
    from vllm.platforms.interface import DeviceCapability

    stated = DeviceCapability(capability[0], capability[1])
    platform_class.get_device_capability = classmethod(lambda cls, device_id=0: stated)
    torch.cuda.get_device_capability = lambda device=None: tuple(capability)
    stand_ins.append("compute capability: {}.{}, stated, not the device's".format(*capability))


def choose_platform(torch, request, stand_ins):
    """The platform that vLLM found, or its CUDA platform for a stated capability. Returns (platform, real capability or None)."""
    import vllm.platforms as platforms

    capability = request["capability"]
    found = platforms.current_platform
    if found.is_cuda():
        real = found.get_device_capability()
        if capability is not None:
            state_capability(torch, type(found), capability, stand_ins)
        elif real is None:
            raise Refusal("device", "vLLM runs on CUDA here but cannot tell the device's compute capability")
        return found, None if real is None else [real.major, real.minor]
    kind = type(found).__name__
    if capability is None:
        raise Refusal("device", "vLLM finds no CUDA device here ({}); state a compute capability to ask for".format(kind))
    if found.is_rocm() or found.is_xpu():
        raise Refusal("device", "this vLLM runs on another platform than CUDA ({})".format(kind))
    stand_in_for_driver(request["scratch"], stand_ins)
    stand_in_for_device(torch, capability, stand_ins)
    import vllm.platforms.cuda as cuda

    chosen = cuda.NonNvmlCudaPlatform
    state_capability(torch, chosen, capability, stand_ins)
    chosen.get_device_name = classmethod(lambda cls, device_id=0: StatedProperties(capability).name)
    chosen.get_device_total_memory = classmethod(lambda cls, device_id=0: StatedProperties(capability).total_memory)
    chosen.device_count = classmethod(lambda cls: 1)
    chosen.num_compute_units = classmethod(lambda cls, device_id=0: StatedProperties(capability).multi_processor_count)
    platform = chosen()
    platforms._current_platform = platform
    # Modules that were imported on the way hold the platform that was found before.
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "vllm" and module is not platforms and "current_platform" in vars(module):
            module.current_platform = platform
    stand_ins.append("vllm.platforms.current_platform: vLLM's own {}, which it would not choose here".format(chosen.__name__))
    return platform, None


# --- the installed release ---


def first_module(names, stage):
    """The first of the modules that this release has; one that fails while it is imported is a refusal."""
    import importlib
    import importlib.util

    for name in names:
        try:
            present = importlib.util.find_spec(name) is not None
        except ModuleNotFoundError:
            present = False
        if present:
            try:
                return importlib.import_module(name)
            except Exception as error:
                raise Refusal(stage, "{} cannot be imported ({})".format(name, describe(error)))
    raise Refusal(stage, "this vLLM has none of {}; releases before 0.11.1 have no validator".format(", ".join(names)))


def parameters(function):
    """Names of the parameters of a function, in order; those without a default too."""
    import inspect

    signature = inspect.signature(function)
    names = [name for name in signature.parameters if name not in ("self", "cls")]
    required = [
        name
        for name, parameter in signature.parameters.items()
        if name in names
        and parameter.default is inspect.Parameter.empty
        and parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    ]
    return names, required


class HfTextConfig(object):
    """The Hugging Face text config of the question, as far as it was given."""

    def __init__(self, values):
        self.__dict__.update(values)


class ModelConfig(object):
    """Stands in for vllm_config.model_config: the facts of the question, nothing read from a file or a network."""

    def __init__(self, model):
        self.hf_text_config = HfTextConfig(model.get("hfTextConfig") or {})
        self.hf_config = self.hf_text_config
        self.is_diffusion = bool(model.get("isDiffusion"))
        self.is_mm_prefix_lm = bool(model.get("isMmPrefixLm"))
        self.is_hybrid = bool(model.get("isHybrid"))
        self.rswa_window = model.get("rswaWindow")
        self._model = model

    def get_head_size(self):
        return self._model["headSize"]

    def get_num_attention_heads(self, parallel_config=None):
        return self._model["numAttentionHeads"]

    def get_num_kv_heads(self, parallel_config=None):
        return self._model["numKvHeads"]


class Flags(object):
    """A configuration that is asked for a few flags only."""

    def __init__(self, **values):
        self.__dict__.update(values)


class Installed(object):
    """The installed vLLM: where its parts are and how they are asked."""

    def __init__(self, platform, channel, network, stand_ins):
        self.platform = platform
        self.network = network
        self.stand_ins = stand_ins
        channel.progress("registry")
        self.enum = first_module(REGISTRY_MODULES, "registry").AttentionBackendEnum
        channel.progress("configuration")
        self.config_module = first_module(("vllm.config",), "configuration")
        channel.progress("selector")
        self.selector = first_module(SELECTOR_MODULES, "selector")
        channel.progress("flashAttention")
        self.resolver = first_module(RESOLVER_MODULES, "resolver")
        self.cuda = first_module(("vllm.platforms.cuda",), "platform")
        self.classes = {}
        self.import_errors = {}
        self.priority_seen = None
        self.valid_seen = None
        self.caches = ([], 0)
        self.listen()
        self.attention_config = getattr(self.config_module, "AttentionConfig", None)
        self.config = self.make_config()
        self.selector_parameters = parameters(self.selector.get_attn_backend)[0]
        self.resolver_parameters = parameters(self.resolver.get_flash_attn_version)[0]

    def make_config(self):
        try:
            return self.config_module.VllmConfig()
        except Exception as error:
            raise Refusal("configuration", "vLLM's own VllmConfig() cannot be made ({})".format(describe(error)))

    def listen(self):
        """Remembers what vLLM's selection asks its own functions; calls through."""
        priorities = getattr(self.cuda, "_get_backend_priorities", None)
        if priorities is None:
            raise Refusal("platform", "this vLLM has no _get_backend_priorities in platforms/cuda.py")

        def asked_priorities(*args, **kwargs):
            answer = priorities(*args, **kwargs)
            self.priority_seen = [member.name for member in answer]
            return answer

        asked_priorities.cache_clear = getattr(priorities, "cache_clear", lambda: None)
        self.cuda._get_backend_priorities = asked_priorities
        platform_class = type(self.platform)
        valid = platform_class.get_valid_backends

        def asked_valid(cls, *args, **kwargs):
            answer = valid(*args, **kwargs)
            self.valid_seen = answer
            return answer

        platform_class.get_valid_backends = classmethod(asked_valid)

    def clear_caches(self):
        """vLLM caches answers for the life of a process; here every question has its own configuration."""
        caches, seen = self.caches
        modules = [module for name, module in list(sys.modules.items()) if name.split(".")[0] == "vllm" and module]
        if len(modules) != seen:
            caches = []
            for module in modules:
                for value in list(vars(module).values()):
                    # A lazy import answers every question about its attributes; only real functions are asked.
                    if callable(getattr(type(value), "cache_clear", None)) or "cache_clear" in getattr(value, "__dict__", {}):
                        caches.append(value)
            self.caches = (caches, len(modules))
        for value in caches:
            value.cache_clear()

    def backend_class(self, name):
        """The class of a backend of the enum; raises what importing it raises."""
        if name in self.import_errors:
            raise self.import_errors[name]
        if name not in self.classes:
            try:
                self.classes[name] = self.enum[name].get_class()
            except Exception as error:
                self.import_errors[name] = error
                raise
        return self.classes[name]

    def knows(self, field, names):
        """Does the release take a field of the question: in the validator, or in the selector?"""
        return REQUEST_FIELDS[field] in names or REQUEST_FIELDS[field] in self.selector_parameters

    # --- one question ---

    def set_config(self, case):
        """Puts the settings of a question into vLLM's own configuration. Returns what this release does not know."""
        import os

        config, request, model = case["config"], case["request"], case["model"]
        unknown = []
        given = {field: value for field, value in config.items() if value not in (None, {}, False)}
        if request.get("useNonCausal"):
            given["useNonCausal"] = True
        if self.attention_config is None:
            for field, variable in CONFIG_VARIABLES.items():
                os.environ.pop(variable, None)
                if field in given:
                    value = given[field]
                    os.environ[variable] = str(int(value)) if isinstance(value, bool) else str(value)
            unknown += ["config." + field for field in given if field not in CONFIG_VARIABLES and field != "useNonCausal"]
        else:
            declared = getattr(self.attention_config, "__dataclass_fields__", {})
            arguments = {}
            for field, value in given.items():
                if CONFIG_FIELDS[field] in declared:
                    arguments[CONFIG_FIELDS[field]] = value
                elif field != "useNonCausal":
                    unknown.append("config." + field)
            self.assign(self.config, "attention_config", self.attention_config(**arguments))
        cache, parallel = self.config.cache_config, self.config.parallel_config
        self.assign(cache, "cache_dtype", request.get("kvCacheDtype") or "auto")
        block_size = request.get("blockSize")
        self.assign(cache, "block_size", block_size or 16)
        if hasattr(cache, "user_specified_block_size"):
            self.assign(cache, "user_specified_block_size", block_size is not None)
        mamba = (model or {}).get("mambaSsmCacheDtype") or "auto"
        for name in ("mamba_ssm_cache_dtype", "mamba_cache_dtype"):
            if hasattr(cache, name):
                self.assign(cache, name, mamba if name == "mamba_ssm_cache_dtype" else "auto")
        for field, name in (("usePcp", "prefill_context_parallel_size"), ("useDcp", "decode_context_parallel_size")):
            if hasattr(parallel, name):
                self.assign(parallel, name, 2 if request.get(field) else 1)
        self.assign(self.config, "model_config", None if model is None else ModelConfig(model))
        connector = Flags(is_kv_transfer_instance=True) if request.get("useKvConnector") else None
        self.assign(self.config, "kv_transfer_config", connector)
        adaptive = Flags(enable_adaptive_verification=True) if request.get("useAdaptiveVerification") else None
        self.assign(self.config, "speculative_config", adaptive)
        return unknown

    @staticmethod
    def assign(target, name, value):
        """Sets a field without the release's own re-validation, which wants real models and real transfers."""
        object.__setattr__(target, name, value)

    def arguments(self, case, names):
        """The fields of a question that a function takes, by its own names."""
        import torch

        values = {}
        for field, value in case["request"].items():
            name = REQUEST_FIELDS.get(field)
            if name in names:
                values[name] = getattr(torch, value) if field == "dtype" else value
        return values

    def validate(self, name, case):
        """What validate_configuration of one backend says: a list of reasons. Raises what it raises."""
        backend = self.backend_class(name)
        names, required = parameters(backend.validate_configuration)
        values = self.arguments(case, names)
        if "device_capability" in names:
            values["device_capability"] = self.platform.get_device_capability()
        for missing in [each for each in required if each not in values]:
            default = {"block_size": None, "kv_cache_dtype": "auto", "attn_type": "decoder"}
            values[missing] = default.get(missing, False)
        return [str(reason) for reason in backend.validate_configuration(**values)]

    def select(self, case):
        """vLLM's own selection under the current configuration: the class, or what it raised."""
        values = self.arguments(case, self.selector_parameters)
        if "block_size" in self.selector_parameters:
            values.setdefault("block_size", None)
        return self.selector.get_attn_backend(**values)

    def name_of(self, chosen, preferred):
        """The enum's name of a class; several names may share one, then the first of those preferred."""
        for name in preferred:
            try:
                if self.backend_class(name) is chosen:
                    return name
            except Exception:
                continue
        path = "{}.{}".format(chosen.__module__, chosen.__qualname__)
        for member in self.enum:
            if getattr(member, "value", None) == path:
                return member.name
        return path

    def ask_automatic(self, case):
        """The selection with no backend set: what was tried, what each said, what won."""
        self.priority_seen, self.valid_seen = None, None
        self.clear_caches()
        automatic = dict(case, config=dict(case["config"], backend=None, backendPerKind=None))
        selected = error = kind = None
        try:
            unknown = self.set_config(automatic)
            with self.config_module.set_current_vllm_config(self.config):
                selected = self.name_of(self.select(automatic), self.priority_seen or [])
        except Exception as caught:
            unknown, error, kind = [], str(caught)[: 8 * TEXT_LIMIT], type(caught).__name__
        seen = {}
        valid = []
        if self.valid_seen is not None:
            winners, refused = self.valid_seen
            for winner in winners:
                name = next(part.name for part in winner if isinstance(part, self.enum))
                valid.append(name)
                seen[name] = []
            for member, reasons in refused.items():
                texts = reasons[1] if isinstance(reasons, tuple) else reasons
                seen[member.name] = [str(text) for text in texts]
        return {
            "selected": selected,
            "error": error,
            "errorType": kind,
            "priority": self.priority_seen or [],
            "valid": valid,
            "seen": seen,
            "unknown": unknown,
        }

    def ask_twice(self, case):
        """One question, and once more where the answer could hang on FlashInfer kernels that only the network can tell about."""
        import os

        attempts = self.network.attempts
        found = self.ask(case)
        if self.network.attempts == attempts:
            return found
        before = os.environ.get("VLLM_HAS_FLASHINFER_CUBIN")
        os.environ["VLLM_HAS_FLASHINFER_CUBIN"] = "1"
        try:
            other = self.ask(case)["answer"]
        finally:
            if before is None:
                del os.environ["VLLM_HAS_FLASHINFER_CUBIN"]
            else:
                os.environ["VLLM_HAS_FLASHINFER_CUBIN"] = before
        if any(other[part] != found["answer"][part] for part in ("selected", "error", "perBackend")):
            found["withCubins"] = other
        return found

    def ask(self, case):
        """Everything vLLM says about one question."""
        automatic = self.ask_automatic(case)
        explicit = case["config"].get("backend")
        answer = {
            "priority": automatic["priority"],
            "valid": automatic["valid"],
            "auto": {"selected": automatic["selected"], "error": automatic["error"]},
            "perBackend": {},
            "raised": {},
            "selected": None,
            "error": None,
            "errorType": None,
            "faVersion": None,
            "faVersionBare": None,
            "logs": [],
        }
        unsupported = []
        self.clear_caches()
        try:
            unsupported += self.set_config(case)
        except Exception as error:
            answer["error"], answer["errorType"] = str(error)[: 8 * TEXT_LIMIT], "config:" + type(error).__name__
            return {"id": case["id"], "unsupported": unsupported, "answer": answer}
        names = list(automatic["priority"])
        wanted = [explicit] + list((case["config"].get("backendPerKind") or {}).values()) + list(case.get("backends") or [])
        for name in wanted:
            upper = None if name is None else name.upper()
            if upper in self.enum.__members__ and upper not in names:
                names.append(upper)
        known = set(self.selector_parameters)
        with self.config_module.set_current_vllm_config(self.config):
            for name in names:
                try:
                    answer["perBackend"][name] = self.validate(name, case)
                    known.update(parameters(self.backend_class(name).validate_configuration)[0])
                except (ImportError, OSError) as error:
                    # The text that the release's own selection gives for it, where it tried.
                    answer["perBackend"][name] = automatic["seen"].get(name) or [describe(error)]
                except Exception as error:
                    answer["raised"][name] = describe(error)
            differs = {name: reasons for name, reasons in automatic["seen"].items() if answer["perBackend"].get(name) != reasons}
            if differs:
                answer["perBackendAtSelection"] = automatic["seen"]
            try:
                chosen = self.select(case)
                preferred = ([explicit.upper()] if explicit else []) + names
                answer["selected"] = self.name_of(chosen, preferred)
            except Exception as error:
                answer["error"], answer["errorType"] = str(error)[: 8 * TEXT_LIMIT], type(error).__name__
            values = {
                RESOLVER_FIELDS[field]: value
                for field, value in case["faArgs"].items()
                if RESOLVER_FIELDS.get(field) in self.resolver_parameters and value is not None
            }
            try:
                answer["faVersion"] = self.resolver.get_flash_attn_version(**values)
                answer["faVersionBare"] = self.resolver.get_flash_attn_version()
            except Exception as error:
                answer["raised"]["get_flash_attn_version"] = describe(error)
        for field, value in case["request"].items():
            if field in REQUEST_FIELDS and value not in NEUTRAL and REQUEST_FIELDS[field] not in known:
                unsupported.append("request." + field)
        for field, value in case["faArgs"].items():
            if value not in NEUTRAL and RESOLVER_FIELDS.get(field) not in self.resolver_parameters:
                unsupported.append("faArgs." + field)
        self.validator_parameters = sorted(known)
        return {"id": case["id"], "unsupported": unsupported, "answer": answer}

    def availability(self):
        """What the installed vLLM counts on, in its own words."""
        import importlib
        import importlib.util
        import shutil

        def module_flag(names, attribute):
            for name in names:
                try:
                    return bool(getattr(importlib.import_module(name), attribute))
                except Exception:
                    continue
            return False

        def imports(name):
            try:
                importlib.import_module(name)
                return True
            except Exception:
                return False

        # The last question may have been asked with other variables.
        self.clear_caches()
        interface = ("vllm.vllm_flash_attn.flash_attn_interface",)
        found = {"fa{}".format(number): module_flag(interface, "FA{}_AVAILABLE".format(number)) for number in (2, 3, 4)}
        found["flashinfer"] = imports("flashinfer")
        cubins = compiler = False
        try:
            from vllm.utils import flashinfer

            for name in ("has_nvidia_artifactory", "has_flashinfer_cubin"):
                if hasattr(flashinfer, name):
                    cubins = cubins or bool(getattr(flashinfer, name)())
            compiler = bool(flashinfer.has_flashinfer()) and not cubins
        except Exception:
            compiler = shutil.which("nvcc") is not None
        found["flashinferCubins"] = cubins
        found["flashinferCompiler"] = compiler
        found["flashmla"] = module_flag(FLASHMLA_MODULES, "_flashmla_C_AVAILABLE")
        found["tokenspeedMla"] = imports("tokenspeed_mla")
        found["b12x"] = self.b12x()
        # The one rule that really imports it belongs to this backend; elsewhere the seconds are saved.
        asks = "FLASH_ATTN_MLA_SPARSE_FA4" in self.enum.__members__
        found["fa4Importable"] = found["fa4"] and (not asks or imports("vllm.vllm_flash_attn.cute.interface"))
        return found

    def b12x(self):
        if "B12X" not in self.enum.__members__:
            return False
        try:
            self.backend_class("B12X")
        except Exception:
            return False
        import importlib.util

        for name in ("b12x", "flashinfer.b12x"):
            try:
                if importlib.util.find_spec(name) is not None:
                    return True
            except Exception:
                continue
        return False


# --- the run ---


def read_request():
    import json

    data = sys.stdin.buffer.read(MAX_REQUEST_BYTES + 1)
    if len(data) > MAX_REQUEST_BYTES:
        raise Refusal("request", "the request is larger than {} bytes".format(MAX_REQUEST_BYTES))
    try:
        request = json.loads(data.decode("utf-8"))
    except ValueError as error:
        raise Refusal("request", "the request is no JSON ({})".format(describe(error)))
    if not isinstance(request, dict) or request.get("schema") != REQUEST_SCHEMA:
        raise Refusal("request", "the request has another schema than {}".format(REQUEST_SCHEMA))
    return request


def import_vllm(channel):
    """torch and vllm, each with a plain reason when it does not import."""
    import importlib

    modules = []
    for name in ("torch", "vllm"):
        channel.progress(name)
        try:
            modules.append(importlib.import_module(name))
        except ModuleNotFoundError as error:
            missing = error.name or name
            raise Refusal(name, "{} is not installed".format(name) if missing == name else "{} cannot be imported ({})".format(name, describe(error)))
        except Exception as error:
            raise Refusal(name, "{} cannot be imported ({})".format(name, describe(error)))
    if getattr(modules[1], "__file__", None) is None:
        raise Refusal("vllm", "the directory vllm has no __init__.py, so it is not the package")
    return modules


def versions():
    """Versions of the distributions that take part."""
    from importlib import metadata

    found = {}
    for name in ("vllm", "torch", "transformers", "triton", "pydantic", "nvidia-cutlass-dsl", "flashinfer-python", "flashinfer-cubin"):
        try:
            found[name] = metadata.version(name)
        except Exception:
            continue
    return found


def answer_request(request, channel, network):
    torch, vllm = import_vllm(channel)
    stand_ins = []
    channel.progress("platform")
    try:
        platform, real = choose_platform(torch, request, stand_ins)
    except Refusal:
        raise
    except Exception as error:
        raise Refusal("platform", "vLLM's CUDA platform cannot be set up ({})".format(describe(error)))
    installed = Installed(platform, channel, network, stand_ins)
    if any(case["model"] is not None for case in request["cases"]):
        stand_ins.append("vllm_config.model_config: plain data from the question, not a model that vLLM loaded")
    cases = []
    total = len(request["cases"])
    for index, case in enumerate(request["cases"]):
        if index % max(1, total // 100) == 0:
            channel.progress("asking", index, total)
        cases.append(installed.ask_twice(case))
    channel.progress("availability")
    found = versions()
    capability = platform.get_device_capability()
    return {
        "vllm": found.get("vllm") or str(getattr(vllm, "__version__", "unknown")),
        "torch": str(torch.__version__),
        "packages": found,
        "device": {
            "capability": [capability.major, capability.minor],
            "stated": request["capability"] is not None,
            "real": real,
            "platform": type(platform).__name__,
        },
        "standIns": stand_ins,
        "networkRefused": network.refused,
        "availability": installed.availability(),
        "importErrors": {name: describe(error) for name, error in sorted(installed.import_errors.items())},
        "selectorArgs": [camel(name) for name in installed.selector_parameters],
        "selectorFields": [camel(name) for name in getattr(installed, "validator_parameters", [])],
        "faResolverArgs": [camel(name) for name in installed.resolver_parameters],
        "cases": cases,
    }


def main():
    if sys.version_info < (3, 8):
        print(MARKER + '{"schema": "%s", "tooOld": "%d.%d"}' % (SCHEMA, sys.version_info[0], sys.version_info[1]))
        return
    import os
    import time

    started = time.perf_counter()
    channel = Channel()
    # The folder of this file is not part of the environment that is asked about.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != here]
    document = {"schema": SCHEMA, "python": "{}.{}.{}".format(*sys.version_info[:3])}
    try:
        request = read_request()
        set_environment(request)
        network = Network()
        network.install()
        document.update(answer_request(request, channel, network))
    except Refusal as refusal:
        document["failed"] = {"stage": refusal.stage, "text": refusal.text}
    except Exception as error:
        document["failed"] = {"stage": "asking", "text": "asking vLLM failed ({})".format(describe(error))}
    document["durationMs"] = round((time.perf_counter() - started) * 1000)
    channel.send(MARKER, document)
    # Threads and exit handlers of imported packages have nothing more to do here.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
