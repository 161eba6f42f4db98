// Memory in blocks, aligned for the widest vectors.
#pragma once

#include <cstddef>

namespace backsweep {

// A thread keeps the blocks that it returns for when it needs as much again, up to some megabytes in all: the
// system hands out fresh memory page by page, as it is first written, which takes longer than the arithmetic
// of a short call. Throws std::bad_alloc.
void* take_block(std::size_t bytes);
void return_block(void* block, std::size_t bytes);

}  // namespace backsweep
