// GPU sessions are refused by name until the kernels are linked in.
#include "session.h"

namespace attn {

OpenResult OpenGpuSession(const std::string& device_id, const std::string&) {
  return {nullptr, {"kernelsMissing", "This build has no GPU kernels, so " + device_id + " cannot be opened.", 0}};
}

}  // namespace attn
