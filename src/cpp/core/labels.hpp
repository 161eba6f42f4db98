// Labels: whole numbers that name classes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "core/elements.hpp"

namespace backsweep {

// labels = the selected rows of a one-column y. False if a row lies outside y, or a label is not one of
// 0, 1, ..., classes - 1 (it is then read as 0).
bool gather_labels(const Source& y, const RowSelection& rows, std::size_t classes, std::int64_t* labels);

// The first row of a one-column y that is no such label.
std::optional<std::size_t> find_no_label(const Source& y, std::size_t classes);

}  // namespace backsweep
