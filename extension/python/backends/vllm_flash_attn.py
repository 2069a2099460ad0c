"""vLLM's own builds of FlashAttention 2 and 3, called through its wrapper, without importing vLLM."""
import importlib
import os
import sys

import torch

from .adapter import Adapter, Prepared, explain_import, known, need, stub_package, vllm_folder, vllm_version, window_pair
from .flash_attn3 import split_mla
from .wire import Unavailable


def stub_vendored():
    """Folder of vLLM, after making what is in its vllm_flash_attn importable alone; Unavailable when it is not there."""
    folder = vllm_folder()
    inner = os.path.join(folder, "vllm_flash_attn")
    if not os.path.isdir(inner):
        raise Unavailable("notInstalled", "The installed vllm has no vllm_flash_attn folder.")
    if "vllm" not in sys.modules:
        stub_package("vllm", folder)
        stub_package("vllm.vllm_flash_attn", inner)
    return folder


def import_interface():
    """vLLM's wrapper around its builds; Unavailable when this vLLM has none."""
    try:
        return importlib.import_module("vllm.vllm_flash_attn.flash_attn_interface")
    except ModuleNotFoundError as error:
        if error.name == "vllm.vllm_flash_attn.flash_attn_interface":
            raise Unavailable("notInstalled", "The installed vllm has no vllm_flash_attn/flash_attn_interface.py.")
        raise


class VllmFlashAttentionAdapter(Adapter):
    dist = "vllm"

    def __init__(self, number):
        self.number = number
        self.title = "vLLM's FlashAttention {}".format(number)

    def load(self):
        self.folder = stub_vendored()
        self.interface = import_interface()
        if not getattr(self.interface, "FA{}_AVAILABLE".format(self.number), False):
            why = getattr(self.interface, "FA{}_UNAVAILABLE_REASON".format(self.number), None) or "not part of this build"
            missing = "cannot import name '_vllm_fa{}_C'".format(self.number) in why
            code, text = explain_import(ImportError(why))
            if missing:
                code, text = "notInstalled", "The installed vllm has no FlashAttention {}: {}".format(self.number, why)
            raise Unavailable(code, text)
        self.varlen = self.interface.flash_attn_varlen_func

    def version(self):
        return vllm_version(self.folder)

    def supports(self, problem):
        if problem.sinks:
            need(self.varlen, "s_aux", "sinks")
        if problem.softcap > 0:
            need(self.varlen, "softcap", "a soft cap")
        if problem.fp8:
            need(self.varlen, "k_descale", "the scale of an fp8 KV cache")
        if problem.mla and self.number != 2:
            need(self.varlen, "q_v", "the latent part of Q")

    def prepare(self, problem, tables, out, device):
        arguments = dict(
            max_seqlen_q=problem.max_q,
            cu_seqlens_q=tables.cu_q,
            max_seqlen_k=problem.max_kv,
            softmax_scale=problem.scale,
            causal=problem.causal,
            window_size=list(window_pair(problem, -1)),
            fa_version=self.number,
            out=out,
        )
        if problem.pages is None:
            arguments["cu_seqlens_k"] = tables.cu_kv
        else:
            arguments.update(seqused_k=tables.kv_lens, block_table=tables.page_table)
        if problem.softcap > 0:
            arguments["softcap"] = problem.softcap
        if problem.sinks:
            arguments["s_aux"] = tables.sinks.to(torch.bfloat16)
        if problem.fp8:
            scale = out.new_full((problem.batch, problem.kv_heads), problem.kv_scale).float()
            arguments.update(k_descale=scale, v_descale=scale)
        if problem.lse:
            arguments["return_softmax_lse"] = True
        if self.number == 3 and problem.pages is not None and problem.op != "prefill":
            arguments["scheduler_metadata"] = self._schedule(problem, tables, out)

        def bind(tensors):
            # FlashAttention 2 has no q_v: it is given all 576 elements, and refuses in its own words
            q, k, v, latent = split_mla(problem, tensors) if self.number == 3 else (tensors.q, tensors.k, tensors.v, None)
            more = dict(arguments, q_v=latent) if latent is not None else arguments
            return lambda: self.varlen(q, k, v, **more)

        def unpack(value):
            if not problem.lse:
                return value, None
            return value[0], value[1].transpose(0, 1)

        return Prepared("vllm_flash_attn.flash_attn_varlen_func, fa_version {}".format(self.number), bind, unpack, sinks_type=torch.bfloat16)

    def _schedule(self, problem, tables, out):
        """What vLLM computes once per step and hands to every layer."""
        function = self.interface.get_scheduler_metadata
        rope = problem.head_dim - problem.head_dim_v if problem.mla else problem.head_dim
        return function(
            problem.batch,
            problem.max_q,
            problem.max_kv,
            problem.q_heads,
            problem.kv_heads,
            rope,
            tables.kv_lens,
            **known(
                function,
                qkv_dtype=out.dtype,
                headdim_v=problem.head_dim_v,
                cu_seqlens_q=tables.cu_q,
                page_size=problem.page_size,
                causal=problem.causal,
                window_size=window_pair(problem, -1),
                has_softcap=problem.softcap > 0
            )
        )
