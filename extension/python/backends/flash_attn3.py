"""The installed FlashAttention 3 (flash_attn_interface): packed sequences, its KV-cache function for pages, q_v for MLA."""
import importlib

import torch

from .adapter import Adapter, Prepared, dist_version, known, need, require_module, window_pair


class FlashAttention3Adapter(Adapter):
    dist = "flash-attn-3"
    title = "FlashAttention 3"

    def load(self):
        require_module("flash_attn_interface", "FlashAttention 3 (flash_attn_interface) is not installed in this environment.")
        library = importlib.import_module("flash_attn_interface")
        self.varlen = library.flash_attn_varlen_func
        self.with_kvcache = library.flash_attn_with_kvcache

    def version(self):
        return dist_version("flash-attn-3") or dist_version("flash_attn_3")

    def _function(self, problem):
        return self.varlen if problem.pages is None else self.with_kvcache

    def supports(self, problem):
        function = self._function(problem)
        if problem.sinks:
            need(function, "s_aux", "sinks")
        if problem.fp8:
            need(function, "k_descale", "the scale of an fp8 KV cache")
        if problem.mla:
            need(function, "qv", "the latent part of Q")

    def prepare(self, problem, tables, out, device):
        function = self._function(problem)
        arguments = dict(softmax_scale=problem.scale, causal=problem.causal, window_size=window_pair(problem, -1))
        arguments.update(cu_seqlens_q=tables.cu_q, max_seqlen_q=problem.max_q)
        if problem.softcap > 0:
            arguments["softcap"] = problem.softcap
        if problem.sinks:
            arguments["s_aux"] = tables.sinks.to(torch.bfloat16)
        if problem.fp8:
            scale = out.new_full((problem.batch, problem.kv_heads), problem.kv_scale).float()
            arguments.update(k_descale=scale, v_descale=scale)
        if problem.pages is None:
            arguments.update(cu_seqlens_k=tables.cu_kv, max_seqlen_k=problem.max_kv)
            if problem.lse:
                arguments.update(known(function, return_attn_probs=True))
        else:
            arguments.update(cache_seqlens=tables.kv_lens, page_table=tables.page_table)
            if problem.lse:
                arguments["return_softmax_lse"] = True

        def bind(tensors):
            q, k, v, latent = split_mla(problem, tensors)
            more = dict(arguments, qv=latent) if latent is not None else arguments
            return lambda: function(q, k, v, **more)

        def unpack(value):
            o, lse = (value[0], value[1]) if isinstance(value, (tuple, list)) else (value, None)
            return o.reshape(problem.q_tokens, problem.q_heads, problem.head_dim_v), None if lse is None else lse.transpose(0, 1)

        return Prepared(function.__name__, bind, unpack, sinks_type=torch.bfloat16)


def split_mla(problem, tensors):
    """(q, k, v, qv): for MLA the 64 rope elements as q and k, the latent ones as qv and v, which is how FlashAttention takes it."""
    if not problem.mla:
        return tensors.q, tensors.k, tensors.v, None
    latent = problem.head_dim_v
    q, qv = tensors.q[..., latent:].contiguous(), tensors.q[..., :latent].contiguous()
    return q, tensors.k[..., latent:], tensors.k[..., :latent], qv
