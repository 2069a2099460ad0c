/** What validate.py says of an installed vLLM 0.33.0 on an H100 besides its answers. */
import type { ValidationAnswer } from '../../../../extension/core/rules/validation';

export const VALIDATION_HEAD: Omit<ValidationAnswer, 'cases' | 'durationMs'> = {
  schema: 'attn-diag-validate/1',
  python: '3.12.1',
  vllm: '0.33.0',
  torch: '2.14.0',
  packages: {},
  device: { capability: [9, 0], stated: false, real: [9, 0], platform: 'NvmlCudaPlatform' },
  standIns: [],
  networkRefused: [],
  availability: {
    fa2: true,
    fa3: true,
    fa4: true,
    flashinfer: true,
    flashinferCubins: false,
    flashinferCompiler: true,
    flashmla: true,
    tokenspeedMla: true,
    b12x: true,
    fa4Importable: true,
  },
  importErrors: {},
  selectorArgs: [],
  selectorFields: [],
  faResolverArgs: [],
};
