// Whether numbers are finite.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

namespace skddl {

// Largest magnitude; NaN if one of the numbers is.
template <class T>
T largest(const T* values, std::size_t size) {
    T found = 0;
    int any = 0;
#pragma omp simd reduction(max : found) reduction(| : any)
    for (std::size_t i = 0; i < size; ++i) {
        const T magnitude = std::abs(values[i]);
        found = std::max(found, magnitude);
        any |= !(magnitude <= magnitude);  // NaN
    }
    return any ? std::numeric_limits<T>::quiet_NaN() : found;
}

}  // namespace skddl
