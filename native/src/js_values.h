// Plain JavaScript objects from C++ values and back, with the field names of extension/core. Call on the JS thread only.
#pragma once

#include <napi.h>

#include <optional>
#include <string>

#include "device_facts.h"
#include "session.h"

namespace attn {

/// AttentionCase of a JavaScript object. Empty, with `*problem` naming the field, when one has another type.
std::optional<AttentionCase> CaseFromJs(const Napi::Value& value, std::string* problem);

/// RunOptions of a JavaScript object, as CaseFromJs.
std::optional<RunOptions> OptionsFromJs(const Napi::Value& value, std::string* problem);

Napi::Object ResultToJs(Napi::Env env, const CaseResult& result);
Napi::Object CeilingsToJs(Napi::Env env, const Ceilings& ceilings);
Napi::String PhaseToJs(Napi::Env env, Phase phase);

/// systemFactsSchema.
/// @param taken_at_ms milliseconds since the epoch, @param manifest text of the kernels' manifest.json, if there is one
Napi::Object SystemFactsToJs(Napi::Env env, const SystemFacts& system, double taken_at_ms,
                             const std::optional<std::string>& manifest);

/// An Error with `code` and `data: {number}`.
Napi::Object ErrorToJs(Napi::Env env, const Status& status);

}  // namespace attn
