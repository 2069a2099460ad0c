"""FFPA (ffpa-attn): its CuTe kernel where the GPU has one, else its Triton kernel."""
import importlib

import torch

from .adapter import Adapter, Prepared, require_module
from .wire import Refused


class FfpaAdapter(Adapter):
    dist = "ffpa-attn"
    title = "FFPA"

    def load(self):
        require_module("ffpa_attn", "ffpa-attn is not installed in this environment.")
        self.library = importlib.import_module("ffpa_attn")
        self.meta = getattr(importlib.import_module("ffpa_attn.functional"), "FFPAAttnMeta", None)

    def supports(self, problem):
        if problem.pages is not None:
            raise Refused("ffpa_attn_func() takes no page table.")
        if problem.window is not None:
            raise Refused("ffpa_attn_func() has no argument for a sliding window.")
        if problem.softcap > 0:
            raise Refused("ffpa_attn_func() has no argument for a soft cap.")
        if problem.sinks:
            raise Refused("ffpa_attn_func() has no argument for sinks.")
        if problem.fp8:
            raise Refused("ffpa_attn_func() has no argument for the scale of an fp8 KV cache.")

    def prepare(self, problem, tables, out, device):
        hopper = torch.cuda.get_device_capability(device.torch_device)[0] == 9
        name = "CuTeDSLBackend" if hopper else "TritonBackend"
        arguments = dict(forward_backend=getattr(self.library, name)(forward=True))
        if problem.q_heads != problem.kv_heads:
            arguments["enable_gqa"] = True
        if problem.uniform:
            return self._fixed_batch(problem, arguments, name)
        lengths = (tables.cu_q, tables.cu_kv, problem.max_q, problem.max_kv)
        arguments.update(causal=problem.causal, softmax_scale=problem.scale)

        def bind(tensors):
            return lambda: self.library.ffpa_attn_varlen_func(tensors.q, tensors.k, tensors.v, *lengths, **arguments)

        return Prepared("ffpa_attn_varlen_func {}".format(name), bind, lambda value: (value, None))

    def _own_kernel(self, q, k, backend):
        """Refused where ffpa_attn_func() calls torch's own attention instead, which would be measured under FFPA's name."""
        if hasattr(self.meta, "fallback") and self.meta.from_kwargs(forward_backend=backend).fallback(q, k, None, 0.0):
            raise Refused("ffpa_attn_func() hands this case to torch's own attention.")

    def _fixed_batch(self, problem, arguments, name):
        arguments = dict(arguments, is_causal=problem.masks, scale=problem.scale)
        if problem.masks and problem.max_q != problem.max_kv:
            raise Refused("ffpa_attn_func() says causal without saying which corner the mask is aligned to for unequal lengths.")

        def bind(tensors):
            q = tensors.q.unflatten(0, (problem.batch, problem.max_q)).transpose(1, 2)
            k, v = (t.unflatten(0, (problem.batch, problem.max_kv)).transpose(1, 2) for t in (tensors.k, tensors.v))
            self._own_kernel(q, k, arguments["forward_backend"])
            return lambda: self.library.ffpa_attn_func(q, k, v, **arguments)

        def unpack(value):
            return value.transpose(1, 2).reshape(problem.q_tokens, problem.q_heads, problem.head_dim_v), None

        return Prepared("ffpa_attn_func {}".format(name), bind, unpack)
