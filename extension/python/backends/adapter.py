"""The interface of an adapter, and what several of them need. Pure Python at import."""
import contextlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import sys
import types

from .wire import Refused, Unavailable, shorten


class Prepared(object):
    """A case that the library has been told about.

    `kernel`: the library's function that is called. `bind(tensors)`: a call without arguments on one copy of the inputs, whose
    time is the library's (its planning is done in prepare, as a serving loop plans once for many layers).
    `unpack(value)`: (output [tokens, qHeads, headDimV], log-sum-exp [tokens, qHeads] or None) of what a call returned.
    `scope()`: entered around the calls. `sinks_type`: the type the library was given the sinks in; None = float32.
    """

    def __init__(self, kernel, bind, unpack, scope=contextlib.nullcontext, sinks_type=None):
        self.kernel = kernel
        self.bind = bind
        self.unpack = unpack
        self.scope = scope
        self.sinks_type = sinks_type


class Adapter(object):
    """One library. A subclass states its distribution and defines load and prepare."""

    # Name of the distribution on PyPI; its version is the library's.
    dist = None
    # How it is named in sentences.
    title = None

    def load(self):
        """Imports the library. Raises Unavailable, or whatever its import raises."""
        raise NotImplementedError

    def version(self):
        return dist_version(self.dist)

    def supports(self, problem):
        """Raises Refused for what the library's function has no argument for. Never for a size or a type: that is asked."""

    def prepare(self, problem, tables, out, device):
        """A Prepared. What the library raises here is its own refusal. `out`: where to write, for libraries that take it."""
        raise NotImplementedError

    def workspace_bytes(self, problem):
        """Memory the library is known to need beside inputs and output."""
        return 0


def dist_version(name):
    import importlib.metadata

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def find_folder(name):
    """Folder of a top-level package, without importing it; None when there is none."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    return places[0] if places else None


def require_module(name, text):
    """Unavailable with code notInstalled unless a module of this name can be found."""
    if importlib.util.find_spec(name) is None:
        raise Unavailable("notInstalled", text)


def stub_package(name, folder):
    """Puts an empty package of this name in front of the real one, so that its parts import without its __init__."""
    package = types.ModuleType(name)
    package.__path__ = [folder]
    package.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
    package.__spec__.submodule_search_locations = package.__path__
    sys.modules[name] = package
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, package)
    return package


def vllm_folder():
    """Where vLLM is installed, found without running any of it."""
    folder = find_folder("vllm")
    if folder is None:
        raise Unavailable("notInstalled", "vllm is not installed in this environment.")
    return folder


def vllm_version(folder):
    """The distribution's version, or what the package's own version file says."""
    version = dist_version("vllm")
    if version is None:
        try:
            with open(os.path.join(folder, "_version.py"), encoding="utf-8") as handle:
                for line in handle:
                    if line.startswith("__version__ =") or line.startswith("__version__ = version ="):
                        version = line.split("=")[-1].strip().strip("'\"")
        except OSError:
            pass
    return version


def accepts(function, name):
    """Whether a Python function has a parameter of this name."""
    parameters = inspect.signature(function).parameters
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def need(function, name, what):
    """Refused unless the function has the parameter that `what` goes into."""
    if not accepts(function, name):
        text = "This version's {}() has no argument for {} ({}).".format(function.__name__, what, name)
        raise Refused(text)


def known(function, **wanted):
    """Those of the arguments that the function has a parameter for: optional ones, that differ between versions."""
    return {name: value for name, value in wanted.items() if accepts(function, name)}


def window_pair(problem, none):
    """(left, right) keys beside the query's own position; `none` = how the library writes "no limit"."""
    return (problem.window - 1, 0) if problem.window is not None else (none, none)


def explain_import(error):
    """(code, text) of a failed import, in plain words with the library's own at the end."""
    words = shorten("{}: {}".format(type(error).__name__, error))
    text = str(error)
    if "undefined symbol" in text:
        return "builtForOtherTorch", "Its compiled part was built for another version of torch than the one installed. " + words
    if "GLIBC" in text or "GLIBCXX" in text:
        return "builtForOtherSystem", "Its compiled part needs a newer system library than this machine has. " + words
    if "libcuda.so.1" in text:
        return "noDriver", "It needs the NVIDIA driver, which is not installed here. " + words
    if "cannot open shared object file" in text:
        return "missingLibrary", "A shared library that it needs is not installed. " + words
    if isinstance(error, ModuleNotFoundError):
        return "importFailed", "A Python module that it needs is not installed. " + words
    return "importFailed", "Importing it failed. " + words
