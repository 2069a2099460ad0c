{
  # One Node-API addon for every Node and Electron. It links no CUDA: driver libraries are opened at run time.
  "targets": [
    {
      "target_name": "attention_addon",
      "sources": ["<!@(node -p \"require('fs').readdirSync('src').filter((f) => f.endsWith('.cc')).map((f) => 'src/' + f).join(' ')\")"],
      "defines": [
        "NAPI_VERSION=8",
        "NODE_ADDON_API_DISABLE_DEPRECATED",
        "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS",
        "NAPI_DISABLE_CPP_EXCEPTIONS",
        "ATTN_ADDON_VERSION=<!(node -p \"require('../package.json').version\")"
      ],
      "cflags": [
        "-O2",
        "-fPIC",
        "-fvisibility=hidden",
        "-fstack-protector-strong",
        "-ffunction-sections",
        "-fdata-sections",
        "-Wall",
        "-Wextra",
        "-Werror",
        # Relative to build/, where make runs: absolute ones break in a folder whose name has a space.
        "-isystem<!(node -p \"require('path').relative('build', require('path').dirname(require.resolve('node-addon-api/package.json')))\")",
        "-include../src/glibc_floor.h"
      ],
      "cflags_cc": ["-std=gnu++17", "-fno-exceptions", "-fvisibility-inlines-hidden"],
      "ldflags": ["-Wl,-z,relro,-z,now,-z,noexecstack", "-Wl,--as-needed,--gc-sections"],
      "libraries": ["-ldl", "-lpthread"]
    }
  ]
}
