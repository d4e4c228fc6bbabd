// Tasks over threads, and memory: the only things that the levels have in common.
#pragma once
#include <cstddef>
#include "args.h"

// Runs `run(context, task, memory)` for each task on up to `threads` threads, fewer where the system starts no more;
// `memory` is `bytes` of the thread's own, 64-byte aligned and not cleared. Which thread runs a task is chance, so a
// task must not depend on it. Throws std::bad_alloc where a thread has no memory; every thread has ended then.
void parallel(i64 tasks, i64 threads, void (*run)(void*, i64, char*), void* context, size_t bytes);

// Memory of 64-byte alignment, not cleared, that is freed with its scope, also when something throws. Its functions are
// defined once, in library.cpp: a definition here would be compiled for each level, and the linker keeps one of them
// for all.
class Buffer {
  public:
    explicit Buffer(size_t bytes);  // throws std::bad_alloc
    ~Buffer();
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    char* const at;  // null where no bytes were asked for
};
