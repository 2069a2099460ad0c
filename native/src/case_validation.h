// Which cases have a meaning at all, the same for every device. A device may support less, never more.
#pragma once

#include <optional>

#include "session.h"

namespace attn {

/// Why this case cannot run on any device (for an `unsupported` result), or empty when it can. Pure.
/// Codes: `batch`, `qHeads`, `kvHeads`, `headGroup`, `headDim`, `headDimV`, `mlaShape`, `qLens`, `kvLens`, `noQueries`,
/// `pageSize`, `window`, `softcap`, `kvScale`, `tooLarge`.
std::optional<Reason> ValidateCase(const AttentionCase& spec);

}  // namespace attn
