"""FlashAttention 4 (cute): the installed flash-attn-4, and the copy inside vLLM. One way of calling, so that they compare."""
import importlib
import os

import torch

from .adapter import Adapter, Prepared, accepts, find_folder, known, need, vllm_version, window_pair
from .flash_attn2 import unpack_batched
from .flash_attn3 import split_mla
from .vllm_flash_attn import stub_vendored
from .wire import Refused, Unavailable


class FlashAttention4Adapter(Adapter):
    def use(self, interface):
        self.fixed = interface.flash_attn_func
        self.varlen = interface.flash_attn_varlen_func
        self.forward = interface._flash_attn_fwd

    def supports(self, problem):
        if problem.fp8:
            if not accepts(self.forward, "fp8_kv_dequant"):
                raise Refused("This version has no argument for an fp8 KV cache beside 16-bit Q (fp8_kv_dequant).")
        if problem.sinks:
            need(self.varlen, "learnable_sink", "sinks")

    def prepare(self, problem, tables, out, device):
        arguments = dict(softmax_scale=problem.scale, causal=problem.causal)
        if problem.window is not None:
            arguments["window_size"] = window_pair(problem, None)
        if problem.softcap > 0:
            arguments["softcap"] = problem.softcap
        if problem.sinks:
            arguments["learnable_sink"] = tables.sinks.to(torch.bfloat16)
        if problem.lse:
            arguments.update(known(self.varlen, return_lse=True))
        if problem.mla:
            need(self.varlen, "qv", "the latent part of Q")
        # 0 lets the library split the keys of a few queries over the SMs, which is what vLLM passes when it decodes
        arguments["num_splits"] = 0 if problem.op != "prefill" else 1
        if problem.fp8:
            return self._with_fp8_cache(problem, tables, out, arguments)
        if problem.pages is None and problem.uniform:
            return self._fixed_batch(problem, arguments)
        arguments.update(cu_seqlens_q=tables.cu_q, max_seqlen_q=problem.max_q, max_seqlen_k=problem.max_kv)
        if problem.pages is None:
            arguments["cu_seqlens_k"] = tables.cu_kv
        else:
            arguments.update(seqused_k=tables.kv_lens, page_table=tables.page_table)

        def bind(tensors):
            q, k, v, latent = split_mla(problem, tensors)
            more = dict(arguments, qv=latent) if latent is not None else arguments
            return lambda: self.varlen(q, k, v, **more)

        return Prepared("flash_attn.cute flash_attn_varlen_func", bind, lambda value: self._packed(problem, value), sinks_type=torch.bfloat16)

    def _fixed_batch(self, problem, arguments):
        def bind(tensors):
            q, k, v, latent = split_mla(problem, tensors)
            q = q.unflatten(0, (problem.batch, problem.max_q))
            k, v = (t.unflatten(0, (problem.batch, problem.max_kv)) for t in (k, v))
            more = arguments
            if latent is not None:
                more = dict(arguments, qv=latent.unflatten(0, (problem.batch, problem.max_q)))
            return lambda: self.fixed(q, k, v, **more)

        return Prepared("flash_attn.cute flash_attn_func", bind, lambda value: unpack_batched(problem, value), sinks_type=torch.bfloat16)

    def _with_fp8_cache(self, problem, tables, out, arguments):
        """As vLLM's wrapper does it: only the inner function takes the scales."""
        window = arguments.pop("window_size", (None, None))
        scale = out.new_full((problem.batch, problem.kv_heads), problem.kv_scale).float()
        arguments.update(window_size_left=window[0], window_size_right=window[1])
        arguments.update(cu_seqlens_q=tables.cu_q, max_seqlen_q=problem.max_q, max_seqlen_k=problem.max_kv)
        if problem.pages is None:
            arguments["cu_seqlens_k"] = tables.cu_kv
        else:
            arguments.update(seqused_k=tables.kv_lens, page_table=tables.page_table)
        arguments.update(k_descale=scale, v_descale=scale, fp8_kv_dequant=True, out=out)

        def bind(tensors):
            return lambda: self.forward(tensors.q, tensors.k, tensors.v, **arguments)

        return Prepared("flash_attn.cute _flash_attn_fwd, fp8 KV", bind, lambda value: self._packed(problem, value), sinks_type=torch.bfloat16)

    @staticmethod
    def _packed(problem, value):
        o, lse = (value[0], value[1]) if isinstance(value, (tuple, list)) else (value, None)
        o = o.reshape(problem.q_tokens, problem.q_heads, problem.head_dim_v)
        return o, None if lse is None else lse.transpose(0, 1)


class SystemFlashAttention4Adapter(FlashAttention4Adapter):
    dist = "flash-attn-4"
    title = "FlashAttention 4"

    def load(self):
        folder = find_folder("flash_attn")
        if folder is None:
            raise Unavailable("notInstalled", "flash-attn-4 is not installed in this environment.")
        version = self.version()
        file = os.path.join(folder, "cute", "interface.py")
        if not os.path.isfile(file):
            if version is not None:
                text = "flash-attn-4 {} is installed, but {} comes first on the path and has no cute/interface.py."
                raise Unavailable("shadowed", text.format(version, folder))
            raise Unavailable("notInstalled", "flash-attn-4 is not installed in this environment.")
        if version is None:
            text = "{} is there, but not as flash-attn-4: an older flash-attn carries a copy that nothing keeps up to date."
            raise Unavailable("notInstalled", text.format(file))
        interface = importlib.import_module("flash_attn.cute.interface")
        if os.path.realpath(interface.__file__) != os.path.realpath(file):
            text = "flash_attn.cute was imported from {} instead of {}."
            raise Unavailable("shadowed", text.format(interface.__file__, file))
        self.use(interface)


class VllmFlashAttention4Adapter(FlashAttention4Adapter):
    dist = "vllm"
    title = "vLLM's FlashAttention 4"

    def load(self):
        self.folder = stub_vendored()
        if not os.path.isfile(os.path.join(self.folder, "vllm_flash_attn", "cute", "interface.py")):
            raise Unavailable("notInstalled", "The installed vllm carries no FlashAttention 4.")
        self.use(importlib.import_module("vllm.vllm_flash_attn.cute.interface"))

    def version(self):
        return vllm_version(self.folder)
