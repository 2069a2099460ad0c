"""How far a library's output may be from the float64 reference before it is called wrong.

The native runner's limits (native/src/gpu_case.cc), with one difference: a library may round its output to 16 bits once more than
the bundled kernels do. FlashInfer keeps the parts of a split KV cache in 16 bits: 3.2e-3 where rounding P and O costs 2.3e-3,
measured on an H200. That is less precise, not wrong.
"""
import math

# A result may be this much worse than what rounding costs by itself.
MAX_FLOOR_RATIO = 1.25
# A single row may be this many floors off; one whose page or mask is wrong is off by far more.
MAX_ROW_RATIO = 8.0
MAX_LSE_ERROR = 2e-3
# What rounding the output to 16 bits costs on normal data; the floor of a handful of rows can fall below it by luck.
OUTPUT_ROUNDING = {"bf16": 1.6e-3, "fp16": 2.0e-4}


def output_limit(floor, dtype):
    """Largest relative error of the checked rows together, where rounding P and O costs `floor` of their norm."""
    rounding = OUTPUT_ROUNDING[dtype]
    return MAX_FLOOR_RATIO * math.hypot(max(floor, rounding), rounding)
