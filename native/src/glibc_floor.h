// Included before every source: keeps the addon loadable on glibc 2.28 and GLIBCXX 3.4.25, the floor of the VS Code
// server, even when it is built on a newer distribution. test/native/symbolFloor.test.ts checks the result.
#pragma once

#if defined(__linux__) && defined(__x86_64__)

// The versions of these functions that a new glibc would choose are newer than the floor: dlopen and threads moved into
// libc in 2.34, exp and log lost their SVID error handling in 2.29. Both versions stay in every later glibc.
__asm__(".symver dlopen,dlopen@GLIBC_2.2.5");
__asm__(".symver dlsym,dlsym@GLIBC_2.2.5");
__asm__(".symver dlerror,dlerror@GLIBC_2.2.5");
__asm__(".symver pthread_create,pthread_create@GLIBC_2.2.5");
__asm__(".symver exp,exp@GLIBC_2.2.5");
__asm__(".symver log,log@GLIBC_2.2.5");
__asm__(".symver pow,pow@GLIBC_2.2.5");

#endif
