"""FlashInfer: its wrappers for paged decode, paged and ragged prefill, and MLA. plan() runs once per case, outside every time."""
import importlib
import math

import torch

from .adapter import Adapter, Prepared, require_module
from .inputs import FP8
from .wire import Refused

WORKSPACE_BYTES = 384 << 20


class FlashInferAdapter(Adapter):
    dist = "flashinfer-python"
    title = "FlashInfer"

    def load(self):
        require_module("flashinfer", "flashinfer is not installed in this environment.")
        self.library = importlib.import_module("flashinfer")

    def supports(self, problem):
        if problem.sinks:
            raise Refused("FlashInfer's batch wrappers take sinks in their TensorRT-LLM kernels only (Blackwell).")
        if problem.mla and problem.pages is None:
            raise Refused("BatchMLAPagedAttentionWrapper takes a paged KV cache only.")
        if problem.mla and (problem.window is not None or problem.softcap > 0):
            raise Refused("BatchMLAPagedAttentionWrapper has no argument for a sliding window or a soft cap.")
        if problem.mla and problem.fp8:
            raise Refused("BatchMLAPagedAttentionWrapper.run() has no argument for the scale of an fp8 KV cache.")
        if problem.fp8 and problem.pages is None:
            raise Refused("The ragged wrapper wants K and V in Q's type.")

    def workspace_bytes(self, problem):
        return WORKSPACE_BYTES

    def prepare(self, problem, tables, out, device):
        workspace = torch.zeros(WORKSPACE_BYTES, dtype=torch.uint8, device=device.torch_device)
        types = dict(q_data_type=out.dtype, kv_data_type=FP8 if problem.fp8 else out.dtype)
        common = dict(
            types,
            sm_scale=problem.scale,
            window_left=problem.window - 1 if problem.window is not None else -1,
            logits_soft_cap=problem.softcap or None
        )
        if problem.mla:
            return self._mla(workspace, problem, tables, out, types)
        if problem.pages is None:
            return self._ragged(workspace, problem, tables, out, common)
        if problem.max_q == 1 and min(problem.q_lens) == 1 and problem.head_dim == problem.head_dim_v:
            return self._decode(workspace, problem, tables, out, common)
        return self._paged(workspace, problem, tables, out, common)

    def _ragged(self, workspace, problem, tables, out, common):
        wrapper = self.library.BatchPrefillWithRaggedKVCacheWrapper(workspace, "NHD")
        wrapper.plan(
            tables.cu_q,
            tables.cu_kv,
            problem.q_heads,
            problem.kv_heads,
            problem.head_dim,
            head_dim_vo=problem.head_dim_v,
            causal=problem.causal,
            **common
        )

        def bind(tensors):
            return lambda: wrapper.run(tensors.q, tensors.k, tensors.v, out=out, return_lse=problem.lse)

        return self._prepared("BatchPrefillWithRaggedKVCacheWrapper", wrapper, bind, problem, out)

    def _paged(self, workspace, problem, tables, out, common):
        wrapper = self.library.BatchPrefillWithPagedKVCacheWrapper(workspace, self._layout(problem))
        wrapper.plan(
            tables.cu_q,
            tables.page_starts,
            tables.page_indices,
            tables.last_page_lens,
            problem.q_heads,
            problem.kv_heads,
            problem.head_dim,
            problem.page_size,
            head_dim_vo=problem.head_dim_v,
            causal=problem.causal,
            **common
        )
        return self._over_pages("BatchPrefillWithPagedKVCacheWrapper", wrapper, problem, out)

    def _decode(self, workspace, problem, tables, out, common):
        # as vLLM does: the tensor-core kernels from a group of four query heads on
        tensor_cores = problem.q_heads // problem.kv_heads >= 4
        wrapper = self.library.BatchDecodeWithPagedKVCacheWrapper(
            workspace, self._layout(problem), use_tensor_cores=tensor_cores
        )
        wrapper.plan(
            tables.page_starts,
            tables.page_indices,
            tables.last_page_lens,
            problem.q_heads,
            problem.kv_heads,
            problem.head_dim,
            problem.page_size,
            **common
        )
        return self._over_pages("BatchDecodeWithPagedKVCacheWrapper", wrapper, problem, out)

    @staticmethod
    def _layout(problem):
        return "HND" if problem.heads_first else "NHD"

    def _over_pages(self, name, wrapper, problem, out):
        scales = dict(k_scale=problem.kv_scale, v_scale=problem.kv_scale) if problem.fp8 else {}

        def bind(tensors):
            # in the order of the storage, which the wrapper was told
            cache = tuple(t.transpose(1, 2) if problem.heads_first else t for t in (tensors.k, tensors.v))
            return lambda: wrapper.run(tensors.q, cache, out=out, return_lse=problem.lse, **scales)

        return self._prepared(name, wrapper, bind, problem, out)

    def _mla(self, workspace, problem, tables, out, types):
        latent, rope = problem.head_dim_v, problem.head_dim - problem.head_dim_v
        wrapper = self.library.mla.BatchMLAPagedAttentionWrapper(workspace)
        wrapper.plan(
            tables.cu_q,
            tables.page_starts,
            tables.page_indices,
            tables.kv_lens,
            problem.q_heads,
            latent,
            rope,
            problem.page_size,
            problem.causal,
            problem.scale,
            types["q_data_type"],
            types["kv_data_type"],
        )

        def bind(tensors):
            q, q_rope = tensors.q[..., :latent].contiguous(), tensors.q[..., latent:].contiguous()
            cache = tensors.k.squeeze(2)
            k, k_rope = cache[..., :latent], cache[..., latent:]
            return lambda: wrapper.run(q, q_rope, k, k_rope, out=out, return_lse=problem.lse)

        return self._prepared("BatchMLAPagedAttentionWrapper", wrapper, bind, problem, out)

    @staticmethod
    def _prepared(name, wrapper, bind, problem, out):
        backend = getattr(wrapper, "_backend", None)

        def unpack(value):
            if not problem.lse:
                return value, None
            # its log-sum-exp is of base 2
            return value[0], value[1] * math.log(2.0)

        return Prepared("{}, {}".format(name, backend) if backend else name, bind, unpack)
