#include "core/blocks.hpp"

#include <algorithm>
#include <new>

#include "core/sizes.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace backsweep {
namespace {

// Less is in good hands with malloc, and whoever needs more has enough to do with it.
constexpr std::size_t fewest_bytes_kept = 1u << 14, bytes_of_large = 1u << 22;
constexpr std::size_t bytes_kept_in_all = 1u << 24, blocks_kept_in_all = 64;

constexpr std::size_t large_page = 1u << 21;
bool is_large(std::size_t bytes) { return bytes >= bytes_of_large; }
std::align_val_t alignment_of(std::size_t bytes) {
  return std::align_val_t{is_large(bytes) ? large_page : cache_line};
}

void* fresh_block(std::size_t bytes) {
  void* block = ::operator new(bytes, alignment_of(bytes));
#if defined(__linux__)
  // Fewer pages to be handed out and to be found again. It is a request: where it is refused, nothing is
  // lost.
  if (is_large(bytes)) madvise(block, bytes, MADV_HUGEPAGE);
#endif
  return block;
}

void delete_block(void* block, std::size_t bytes) { ::operator delete(block, alignment_of(bytes)); }

// A thread's own, so that it finds them in its caches. The first to be returned is the first to be taken: who
// takes the same blocks in the same order each time, and returns them in it, gets the same ones.
class KeptBlocks {
 public:
  KeptBlocks() = default;
  KeptBlocks(const KeptBlocks&) = delete;
  KeptBlocks& operator=(const KeptBlocks&) = delete;
  ~KeptBlocks() {
    has_ended = true;
    while (count_ > 0) delete_oldest();
  }

  // Null where there is none.
  void* take(std::size_t bytes) {
    for (std::size_t i = 0; i < count_; ++i) {
      if (blocks_[i].bytes == bytes) return remove(i);
    }
    return nullptr;
  }

  // The oldest make room.
  void keep(void* memory, std::size_t bytes) {
    while (count_ == blocks_kept_in_all || in_all_ + bytes > bytes_kept_in_all) delete_oldest();
    blocks_[count_++] = {memory, bytes};
    in_all_ += bytes;
  }

  static thread_local bool has_ended;  // blocks may be returned after that

 private:
  struct Block {
    void* memory;
    std::size_t bytes;
  };

  void* remove(std::size_t i) {
    void* const memory = blocks_[i].memory;
    in_all_ -= blocks_[i].bytes;
    std::move(blocks_ + i + 1, blocks_ + count_--, blocks_ + i);
    return memory;
  }
  void delete_oldest() {
    const std::size_t bytes = blocks_[0].bytes;
    delete_block(remove(0), bytes);
  }

  Block blocks_[blocks_kept_in_all];
  std::size_t count_ = 0;
  std::size_t in_all_ = 0;
};

thread_local bool KeptBlocks::has_ended = false;
thread_local KeptBlocks kept;

// A sanitizer is to see where memory is used that has been returned.
#if defined(__SANITIZE_ADDRESS__)
#define BACKSWEEP_SANITIZES_ADDRESSES
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BACKSWEEP_SANITIZES_ADDRESSES
#endif
#endif
#if defined(BACKSWEEP_SANITIZES_ADDRESSES)
constexpr bool keeps_blocks = false;
#else
constexpr bool keeps_blocks = true;
#endif

bool is_to_be_kept(std::size_t bytes) {
  return keeps_blocks && bytes >= fewest_bytes_kept && !is_large(bytes) && !KeptBlocks::has_ended;
}

}  // namespace

void* take_block(std::size_t bytes) {
  void* const block = is_to_be_kept(bytes) ? kept.take(bytes) : nullptr;
  return block == nullptr ? fresh_block(bytes) : block;
}

void return_block(void* block, std::size_t bytes) {
  if (is_to_be_kept(bytes)) {
    kept.keep(block, bytes);
  } else {
    delete_block(block, bytes);
  }
}

}  // namespace backsweep
