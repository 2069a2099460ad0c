// Local definitions of two symbols that headers of newer compilers refer to and that libraries at the floor (see
// glibc_floor.h) do not export. Hidden, so nothing outside this addon sees them.
#include <cstdlib>

extern "C" {
/// Since glibc 2.32. Zero means "threads may exist", which makes shared_ptr count atomically: true here at all times.
__attribute__((visibility("hidden"))) char __libc_single_threaded = 0;
}

namespace std {
/// Since GLIBCXX 3.4.29; called when an allocation's element count overflows, which ends the helper either way.
__attribute__((visibility("hidden"))) [[noreturn]] void __throw_bad_array_new_length() { std::abort(); }
}  // namespace std
