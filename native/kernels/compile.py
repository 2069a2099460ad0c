"""Compiles one CUDA source text to PTX with NVRTC.

usage: compile.py LIBNVRTC OUTPUT_PTX NAME OPTION... < source
Prints NVRTC's log; exits 1 when it refuses. A ctypes call is all that is needed of NVRTC, so there is no C++ driver for it.
"""

import ctypes
import sys


def main():
    library, output, name, options = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
    source = sys.stdin.buffer.read()
    nvrtc = ctypes.CDLL(library)
    program = ctypes.c_void_p()

    def check(status, call):
        if status != 0:
            nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
            sys.exit(f"{call}: {nvrtc.nvrtcGetErrorString(status).decode()}")

    def read(size_call, read_call):
        size = ctypes.c_size_t()
        check(size_call(program, ctypes.byref(size)), size_call.__name__)
        buffer = ctypes.create_string_buffer(size.value)
        check(read_call(program, buffer), read_call.__name__)
        return buffer.value

    check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, name.encode(), 0, None, None), "nvrtcCreateProgram")
    arguments = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
    status = nvrtc.nvrtcCompileProgram(program, len(options), arguments)
    log = read(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog).decode(errors="replace").strip("\0\n ")
    if log:
        print(log)
    check(status, "nvrtcCompileProgram")
    with open(output, "wb") as file:
        file.write(read(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX))


main()
