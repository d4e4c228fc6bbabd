// Tasks over threads, and memory: the only things that the levels have in common.
#pragma once
#include <cstddef>
#include "args.h"

// Runs `run(context, task, memory)` for each task on up to `threads` threads; `memory` is `bytes` of the thread's own, 64-byte
// aligned and not cleared. Which thread runs a task is chance, so a task must not depend on it.
void parallel(i64 tasks, i64 threads, void (*run)(void*, i64, char*), void* context, size_t bytes);

void* allocate_aligned(size_t bytes);
void free_aligned(void* memory);
