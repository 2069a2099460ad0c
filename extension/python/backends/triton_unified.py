"""vLLM's Triton unified attention. The one adapter that imports vLLM; it starts no engine."""
import importlib

import torch

from .adapter import Adapter, Prepared, known, need, vllm_folder, vllm_version
from .wire import Refused, Unavailable

MODULES = ("vllm.v1.attention.ops.triton_unified_attention", "vllm.attention.ops.triton_unified_attention")
# As vLLM's backend launches it: decoding splits the keys in this many parts when the grid would be smaller than this.
SEGMENTS = 16
MIN_GRID = 128


class TritonUnifiedAdapter(Adapter):
    dist = "vllm"
    title = "vLLM's Triton attention"

    def load(self):
        self.folder = vllm_folder()
        for name in MODULES:
            try:
                module = importlib.import_module(name)
                break
            except ModuleNotFoundError as error:
                if error.name is None or not name.startswith(error.name):
                    raise
        else:
            raise Unavailable("tooOld", "The installed vllm has no triton_unified_attention.")
        self.module = module
        self.function = module.unified_attention

    def version(self):
        return vllm_version(self.folder)

    def supports(self, problem):
        if problem.pages is None:
            raise Refused("unified_attention() takes a paged KV cache only.")
        if problem.head_dim != problem.head_dim_v:
            raise Refused("unified_attention() has one head size for K and V.")
        if problem.sinks:
            need(self.function, "sinks", "sinks")

    def prepare(self, problem, tables, out, device):
        scale = torch.full((problem.batch, problem.kv_heads), problem.kv_scale, dtype=torch.float32, device=device.torch_device)
        arguments = dict(
            out=out,
            cu_seqlens_q=tables.cu_q,
            max_seqlen_q=problem.max_q,
            seqused_k=tables.kv_lens,
            max_seqlen_k=problem.max_kv,
            softmax_scale=problem.scale,
            causal=problem.causal,
            window_size=(problem.window - 1, 0) if problem.window is not None else (-1, -1),
            block_table=tables.page_table,
            softcap=problem.softcap,
            q_descale=None,
            k_descale=scale,
            v_descale=scale,
        )
        if problem.sinks:
            arguments["sinks"] = tables.sinks
        if problem.fp8:
            modes = getattr(self.module, "KVQuantMode", None)
            mode = getattr(modes, "FP8_PER_TENSOR", None)
            if mode is not None:
                arguments.update(known(self.function, kv_quant_mode=mode))
        arguments.update(self._segments(problem, device.torch_device))

        def bind(tensors):
            return lambda: self.function(tensors.q, tensors.k, tensors.v, **arguments)

        return Prepared("unified_attention", bind, lambda value: (out, None))

    def _segments(self, problem, place):
        """Scratch of the split-key kernel, which vLLM allocates once per engine."""
        threshold = MIN_GRID // problem.kv_heads
        tokens = min(max(1, threshold), problem.q_tokens) if problem.max_q > 1 else problem.q_tokens
        padded = 1 << (problem.head_dim - 1).bit_length()

        def floats(*shape):
            return torch.empty(shape, dtype=torch.float32, device=place)

        return known(
            self.function,
            seq_threshold_3D=threshold,
            num_par_softmax_segments=SEGMENTS,
            softmax_segm_output=floats(tokens, problem.q_heads, SEGMENTS, padded),
            softmax_segm_max=floats(tokens, problem.q_heads, SEGMENTS),
            softmax_segm_expsum=floats(tokens, problem.q_heads, SEGMENTS)
        )
