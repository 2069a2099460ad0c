"""Every engine of the contract and how to make its adapter. Imports an adapter's file only when it is asked for."""
import importlib

# engine: (file, class, arguments of the class, runs on the CPU too)
ENGINES = {
    "torch.sdpa.flash": ("torch_sdpa", "SdpaAdapter", ("FLASH_ATTENTION",), True),
    "torch.sdpa.cudnn": ("torch_sdpa", "SdpaAdapter", ("CUDNN_ATTENTION",), False),
    "torch.sdpa.efficient": ("torch_sdpa", "SdpaAdapter", ("EFFICIENT_ATTENTION",), False),
    "torch.sdpa.math": ("torch_sdpa", "SdpaAdapter", ("MATH",), True),
    "torch.flex": ("torch_flex", "FlexAdapter", (), True),
    "fa2.system": ("flash_attn2", "FlashAttention2Adapter", (), False),
    "fa2.vllm": ("vllm_flash_attn", "VllmFlashAttentionAdapter", (2,), False),
    "fa3.system": ("flash_attn3", "FlashAttention3Adapter", (), False),
    "fa3.vllm": ("vllm_flash_attn", "VllmFlashAttentionAdapter", (3,), False),
    "fa4.system": ("flash_attn4", "SystemFlashAttention4Adapter", (), False),
    "fa4.vllm": ("flash_attn4", "VllmFlashAttention4Adapter", (), False),
    "flashinfer": ("flashinfer_lib", "FlashInferAdapter", (), False),
    "flashmla.vllm": ("flashmla", "FlashMlaAdapter", (), False),
    "ffpa": ("ffpa", "FfpaAdapter", (), False),
    "triton.vllm": ("triton_unified", "TritonUnifiedAdapter", (), False),
}


def runs_on_cpu(engine):
    return ENGINES[engine][3]


def make_adapter(engine):
    file, name, arguments, _ = ENGINES[engine]
    module = importlib.import_module("." + file, __package__)
    return getattr(module, name)(*arguments)
