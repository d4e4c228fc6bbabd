// Threads and memory, which all levels share.
#pragma once
#include <cstddef>
#include "args.h"

// Calls `run(context, task, memory)` for each task on up to `threads` threads, fewer if the system does not start more.
// `memory` has `bytes` bytes for this thread, 64-byte aligned and uninitialized. Any thread may run any task, so
// results must not depend on the thread. Throws std::bad_alloc, after all threads have finished, if a thread could not
// allocate its memory.
void parallel(i64 tasks, i64 threads, void (*run)(void*, i64, char*), void* context, size_t bytes);

// Uninitialized memory with 64-byte alignment, freed at the end of the scope. Its functions are defined in library.cpp,
// not inline: an inline definition would be compiled for each level, and the linker would keep one of them for all.
class Buffer {
  public:
    explicit Buffer(size_t bytes);  // throws std::bad_alloc
    ~Buffer();
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    char* const at;  // null if `bytes` is 0
};
