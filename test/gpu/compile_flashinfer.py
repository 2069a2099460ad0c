"""Compiles the modules of FlashInfer that are measured, on a machine without a GPU and without torch.

usage: compile_flashinfer.py SITE OUT        SITE: a folder with flashinfer, apache-tvm-ffi, jinja2, filelock and packaging
CUDA_HOME: a toolkit of the version that the GPU machine's torch is built for, with cuRAND's headers. JOBS: how many at a time.

FlashInfer's own generators write the sources and its own flags compile them; only what the generators import of torch, names of
types, is stood in for. Masks that no case has are left out: their functions are bound when they are first called. Leaves
OUT/NAME/NAME.so, which FlashInfer takes instead of compiling where it lies in flashinfer/data/aot.
"""
import concurrent.futures
import importlib
import os
import pathlib
import subprocess
import sys
import tempfile
import types

HOPPER_HEADS = ((64, 64), (128, 128), (256, 256), (192, 128))
# FlashInfer decodes with its older kernels, over pages and without a mask.
DECODE_HEADS = ((64, 64), (128, 128), (256, 256))


class Type(object):
    """One of torch's types, of which only the name counts."""


class Torch(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        value = Type()
        setattr(self, name, value)
        return value


class Unused(types.ModuleType):
    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *arguments, **options: None


def generators(site):
    """FlashInfer's module generators, without its package being run."""
    torch = Torch("torch")
    torch._C = types.SimpleNamespace(_GLIBCXX_USE_CXX11_ABI=1)
    torch.dtype = torch.Tensor = torch.device = object
    sys.modules["torch"] = torch
    for name in ("flashinfer", "flashinfer.jit", "flashinfer.jit.attention"):
        package = types.ModuleType(name)
        package.__path__ = [os.path.join(site, *name.split("."))]
        sys.modules[name] = package
    core = importlib.import_module("flashinfer.jit.core")
    vars(sys.modules["flashinfer.jit"]).update({name: value for name, value in vars(core).items() if not name.startswith("__")})
    unused = ("cubin_loader", "attention.fmha_v2", "attention.fmha_v2.generate_kernels", "attention.fmha_v2.fmha_library")
    for name in unused:
        sys.modules["flashinfer.jit." + name] = Unused(name)
    return torch, importlib.import_module("flashinfer.jit.attention.modules")


def specs(torch, modules):
    half, index = torch.bfloat16, torch.int32
    yield modules.gen_batch_mla_module("fa3", half, half, half, index, 512, 64, False)
    for backend, heads in (("fa3", HOPPER_HEADS), ("fa2", DECODE_HEADS)):
        for qk, vo in heads:
            yield modules.gen_batch_prefill_module(backend, half, half, half, index, qk, vo, 0, False, False, False)


def is_needed(spec, source):
    hopper = spec.name.endswith("_sm90")
    if "_mask_" in source and source.split("_mask_")[1][0] not in ("01" if hopper else "0"):
        return False
    return not ("ragged" in source and not hopper or "paged" in source and "_qk_192_" in spec.name)


def compile_one(command, target):
    done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print("{}: {}".format(os.path.basename(target), "compiled" if done.returncode == 0 else done.stdout[-2000:]), flush=True)
    return done.returncode == 0


def link(spec, objects, out, toolkit, scratch):
    folder = pathlib.Path(out, spec.name)
    folder.mkdir(parents=True, exist_ok=True)
    command = ["c++", "-shared", *objects, "-L{}/lib".format(toolkit), "-l:libcudart.so.13", "-s"]
    command += ["-Wl,-z,lazy", "-Wl,--unresolved-symbols=ignore-all", "-o", str(folder / (spec.name + ".so"))]
    subprocess.run(command, check=True, cwd=scratch)


def main(site, out):
    toolkit = os.environ["CUDA_HOME"]
    sys.path.insert(0, site)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.update(FLASHINFER_CUDA_ARCH_LIST="9.0a", FLASHINFER_WORKSPACE_BASE=scratch, TVM_FFI_DISABLE_TORCH_C_DLPACK="1")
        importlib.import_module("tvm_ffi")  # before torch is stood in for
        jobs = []
        for spec in specs(*generators(site)):
            spec.build_dir.mkdir(parents=True, exist_ok=True)
            for entry in spec.get_compile_commands():
                if is_needed(spec, os.path.basename(entry["file"])):
                    jobs.append((spec, entry["command"], entry["command"].split(" -o ")[-1]))
        with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", "2"))) as pool:
            compiled = list(pool.map(lambda job: compile_one(*job[1:]), jobs))
        if not all(compiled):
            return 1
        for spec in {id(job[0]): job[0] for job in jobs}.values():
            link(spec, [target for own, _, target in jobs if own is spec], out, toolkit, scratch)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
