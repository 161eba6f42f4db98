#include "bindings/arrays.hpp"

namespace backsweep::bindings {
namespace {

Element element_type(const py::dtype& dtype, const char* name) {
  const auto size = dtype.itemsize();
  switch (dtype.kind()) {
    case 'b':
      return Element::boolean;
    case 'i':
      if (size == 1) return Element::int8;
      if (size == 2) return Element::int16;
      if (size == 4) return Element::int32;
      if (size == 8) return Element::int64;
      break;
    case 'u':
      if (size == 1) return Element::uint8;
      if (size == 2) return Element::uint16;
      if (size == 4) return Element::uint32;
      if (size == 8) return Element::uint64;
      break;
    case 'f':
      if (size == 2) return Element::float16;
      if (size == 4) return Element::float32;
      if (size == 8) return Element::float64;
      if (size == sizeof(long double)) return Element::long_double;
      break;
    default:
      break;
  }
  throw py::type_error(std::string(name) + " must be an array of real numbers, got dtype " +
                       py::str(dtype).cast<std::string>());
}

}  // namespace

Source source(const py::array& array, const char* name) {
  if (array.ndim() != 1 && array.ndim() != 2) refuse(name, "have one or two dimensions", shape_text(array));
  const py::dtype dtype = array.dtype();
  Source result;
  result.element = element_type(dtype, name);
  result.byte_swapped = !dtype.attr("isnative").cast<bool>();
  if (result.byte_swapped && result.element == Element::long_double) {
    throw py::type_error(std::string(name) + " must be in the machine's byte order for dtype longdouble");
  }
  result.data = static_cast<const unsigned char*>(array.data());
  result.rows = static_cast<std::size_t>(array.shape(0));
  result.row_stride = array.strides(0);
  result.cols = array.ndim() == 2 ? static_cast<std::size_t>(array.shape(1)) : 1;
  result.col_stride = array.ndim() == 2 ? array.strides(1) : dtype.itemsize();
  return result;
}

}  // namespace backsweep::bindings
