/**
 * Models that mix attention with a recurrent state: their classes carry vLLM's `IsHybrid` trait,
 * themselves or through a parent (`model_executor/models/*.py`). The state's size raises the KV block size, which a config alone does not tell.
 */
import { within, type Release } from './releases';

interface HybridModel {
  /** Entry of `architectures`, as in `models/registry.py`. */
  readonly architecture: string;
  readonly since: Release;
  readonly until?: Release;
}

const HYBRID_MODELS: readonly HybridModel[] = [
  { architecture: 'AliceAIForCausalLM', since: '0.33.0' },
  { architecture: 'BailingMoeV2_5ForCausalLM', since: '0.17.0' },
  { architecture: 'BailingMoeV3ForCausalLM', since: '0.28.0' },
  { architecture: 'BailingMoeV3VLForConditionalGeneration', since: '0.30.0' },
  { architecture: 'BambaForCausalLM', since: '0.11.1', until: '0.23.0' },
  { architecture: 'ClefFlashForJointSchema', since: '0.33.0' },
  { architecture: 'ColBERTLfm2Model', since: '0.19.0' },
  { architecture: 'ColQwen3_5', since: '0.19.0' },
  { architecture: 'FalconH1ForCausalLM', since: '0.11.1' },
  { architecture: 'Glm5NextForCausalLM', since: '0.30.0' },
  { architecture: 'Glm5NextForConditionalGeneration', since: '0.30.0' },
  { architecture: 'GraniteMoeHybridForCausalLM', since: '0.11.1' },
  { architecture: 'InternS2MobiusForConditionalGeneration', since: '0.28.0' },
  { architecture: 'InternS2PreviewForConditionalGeneration', since: '0.22.0' },
  { architecture: 'JambaForCausalLM', since: '0.11.1' },
  { architecture: 'JambaForSequenceClassification', since: '0.11.1' },
  { architecture: 'KimiK3ForConditionalGeneration', since: '0.27.0' },
  { architecture: 'KimiLinearForCausalLM', since: '0.11.1' },
  { architecture: 'Lfm2ForCausalLM', since: '0.11.1' },
  { architecture: 'Lfm2MoeForCausalLM', since: '0.11.1' },
  { architecture: 'Lfm2VlForConditionalGeneration', since: '0.14.0' },
  { architecture: 'MiniCPMOcrForConditionalGeneration', since: '0.33.0' },
  { architecture: 'MiniCPMV4_6ForConditionalGeneration', since: '0.22.0' },
  { architecture: 'MiniCPMV4_7ForConditionalGeneration', since: '0.32.0' },
  { architecture: 'MiniMaxForCausalLM', since: '0.11.1', until: '0.23.0' },
  { architecture: 'MiniMaxM1ForCausalLM', since: '0.11.1', until: '0.23.0' },
  { architecture: 'MiniMaxText01ForCausalLM', since: '0.11.1', until: '0.23.0' },
  { architecture: 'NemotronHForCausalLM', since: '0.11.1' },
  { architecture: 'NemotronHPuzzleForCausalLM', since: '0.16.0' },
  { architecture: 'NemotronH_Nano_Omni_Reasoning_V3', since: '0.20.0' },
  { architecture: 'NemotronH_Nano_VL_V2', since: '0.11.1' },
  { architecture: 'NemotronH_Omni_Reasoning_V3', since: '0.29.0' },
  { architecture: 'NemotronH_Super_Omni_Reasoning_V3', since: '0.20.0' },
  { architecture: 'OlmoHybridForCausalLM', since: '0.18.0' },
  { architecture: 'Plamo2ForCausalLM', since: '0.11.1', until: '0.26.0' },
  { architecture: 'Qwen3NextForCausalLM', since: '0.11.1' },
  { architecture: 'Qwen3_5ForCausalLM', since: '0.27.0' },
  { architecture: 'Qwen3_5ForConditionalGeneration', since: '0.17.0' },
  { architecture: 'Qwen3_5MoeForCausalLM', since: '0.27.0' },
  { architecture: 'Qwen3_5MoeForConditionalGeneration', since: '0.17.0' },
  { architecture: 'Qwen4ExpForCausalLM', since: '0.29.0' },
  { architecture: 'Qwen4ExpForConditionalGeneration', since: '0.29.0' },
  { architecture: 'Zamba2ForCausalLM', since: '0.11.1' },
];

/** Whether a release treats this architecture as hybrid; `false` also for one it does not name. */
export function isHybridArchitecture(release: Release, architecture: string | null): boolean {
  return HYBRID_MODELS.some(
    (model) => model.architecture === architecture && within(release, model.since, model.until),
  );
}
