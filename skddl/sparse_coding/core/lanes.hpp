// A line of the cache as one value, and sums of products in such values.
#pragma once

#include <cstddef>
#include <cstring>
#include <type_traits>

namespace skddl {

constexpr std::size_t line_bytes = 64;

// The longest vector of the processor. Compilers keep longer ones in memory.
#if defined(__AVX512F__)
constexpr std::size_t register_bytes = 64;
#elif defined(__AVX__)
constexpr std::size_t register_bytes = 32;
#else
constexpr std::size_t register_bytes = 16;
#endif

// Numbers in one register.
#if defined(__GNUC__)  // and clang
template <class T, std::size_t bytes>
struct RegisterOf {
    typedef T type __attribute__((vector_size(bytes)));
};
#else
template <class T, std::size_t bytes>
struct RegisterOf {
    struct type {
        T values[bytes / sizeof(T)];
        T operator[](std::size_t i) const { return values[i]; }
        type& operator+=(const type& other) {
            for (std::size_t i = 0; i < bytes / sizeof(T); ++i) values[i] += other.values[i];
            return *this;
        }
        type& operator-=(const type& other) {
            for (std::size_t i = 0; i < bytes / sizeof(T); ++i) values[i] -= other.values[i];
            return *this;
        }
        friend type operator*(T factor, type value) {
            for (T& entry : value.values) entry *= factor;
            return value;
        }
        friend type operator*(type a, const type& b) {
            for (std::size_t i = 0; i < bytes / sizeof(T); ++i) a.values[i] *= b.values[i];
            return a;
        }
    };
};
#endif

template <class T, std::size_t bytes>
struct Halves;

// So many bytes of numbers, in one register or in several.
template <class T, std::size_t bytes>
using LanesOf = typename std::conditional_t<(bytes <= register_bytes), RegisterOf<T, bytes>,
                                            Halves<T, bytes>>::type;

template <class T, std::size_t bytes>
struct Halves {
    using type = Halves;
    LanesOf<T, bytes / 2> low, high;

    T operator[](std::size_t i) const {
        constexpr std::size_t half = bytes / 2 / sizeof(T);
        return i < half ? low[i] : high[i - half];
    }
    Halves& operator+=(const Halves& other) {
        low += other.low, high += other.high;
        return *this;
    }
    Halves& operator-=(const Halves& other) {
        low -= other.low, high -= other.high;
        return *this;
    }
    friend Halves operator*(T factor, const Halves& value) {
        return {factor * value.low, factor * value.high};
    }
    friend Halves operator*(const Halves& a, const Halves& b) {
        return {a.low * b.low, a.high * b.high};
    }
};

template <class T>
using Lanes = LanesOf<T, line_bytes>;

// How many numbers a line holds.
template <class T>
constexpr std::size_t width_of = line_bytes / sizeof(T);

// Numbers of another type as so many bytes of T.
template <class T, std::size_t bytes = line_bytes, class From>
inline LanesOf<T, bytes> load_as(const From* from) {
    if constexpr (bytes > register_bytes) {
        constexpr std::size_t half = bytes / 2 / sizeof(T);
        return {load_as<T, bytes / 2>(from), load_as<T, bytes / 2>(from + half)};
    } else {
        LanesOf<T, bytes> value;
        if constexpr (std::is_same_v<T, From>) {
            std::memcpy(&value, from, bytes);
        } else {
#if defined(__GNUC__)
            typename RegisterOf<From, bytes / sizeof(T) * sizeof(From)>::type numbers;
            std::memcpy(&numbers, from, sizeof(numbers));
            value = __builtin_convertvector(numbers, LanesOf<T, bytes>);
#else
            for (std::size_t i = 0; i < bytes / sizeof(T); ++i) value.values[i] = T(from[i]);
#endif
        }
        return value;
    }
}

template <class T>
inline Lanes<T> load(const T* from) {
    return load_as<T>(from);
}

template <class T, std::size_t bytes = line_bytes>
inline void store(const LanesOf<T, bytes>& value, T* to) {
    if constexpr (bytes > register_bytes) {
        store<T, bytes / 2>(value.low, to);
        store<T, bytes / 2>(value.high, to + bytes / 2 / sizeof(T));
    } else {
        std::memcpy(to, &value, bytes);
    }
}

// Sum of the numbers of a line, or of a part of it: halves are added until two numbers are left.
template <class T, std::size_t bytes = line_bytes>
inline T sum(const LanesOf<T, bytes>& value) {
    if constexpr (bytes == 2 * sizeof(T)) {
        return value[0] + value[1];
    } else {
        LanesOf<T, bytes / 2> low, high;
        if constexpr (bytes > register_bytes) {
            low = value.low, high = value.high;
        } else {
            std::memcpy(&low, &value, bytes / 2);
            std::memcpy(&high, reinterpret_cast<const char*>(&value) + bytes / 2, bytes / 2);
        }
        low += high;
        return sum<T, bytes / 2>(low);
    }
}

// Sum of products, in float64 where one of both is. Four lines at a time: one sum would wait for
// itself.
template <class A, class B>
inline auto dot(const A* a, const B* b, std::size_t size) -> decltype(a[0] * b[0]) {
    using Sum = decltype(a[0] * b[0]);
    constexpr std::size_t width = width_of<Sum>;
    Sum total = 0;
    std::size_t i = 0;
    if (size >= width) {
        Lanes<Sum> s0{}, s1{}, s2{}, s3{};
        for (; i + 4 * width <= size; i += 4 * width) {
            s0 += load_as<Sum>(a + i) * load_as<Sum>(b + i);
            s1 += load_as<Sum>(a + i + width) * load_as<Sum>(b + i + width);
            s2 += load_as<Sum>(a + i + 2 * width) * load_as<Sum>(b + i + 2 * width);
            s3 += load_as<Sum>(a + i + 3 * width) * load_as<Sum>(b + i + 3 * width);
        }
        for (; i + width <= size; i += width) s0 += load_as<Sum>(a + i) * load_as<Sum>(b + i);
        s0 += s1;
        s2 += s3;
        s0 += s2;
        total = sum<Sum>(s0);
    }
    for (; i < size; ++i) total += Sum(a[i]) * Sum(b[i]);
    return total;
}

// values -= factor * row
template <class A, class B>
inline void subtract(A* values, A factor, const B* row, std::size_t size) {
#pragma omp simd
    for (std::size_t i = 0; i < size; ++i) values[i] -= factor * row[i];
}

// values -= sum of factor(i) * row(i) over n rows, four of them at a time: values are read and
// written less often.
template <class A, class Factor, class Row>
inline void subtract_rows(A* values, std::size_t size, std::size_t n, Factor factor, Row row) {
    std::size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const A f0 = A(factor(i)), f1 = A(factor(i + 1));
        const A f2 = A(factor(i + 2)), f3 = A(factor(i + 3));
        const auto *r0 = row(i), *r1 = row(i + 1), *r2 = row(i + 2), *r3 = row(i + 3);
#pragma omp simd
        for (std::size_t j = 0; j < size; ++j)
            values[j] -= f0 * r0[j] + f1 * r1[j] + f2 * r2[j] + f3 * r3[j];
    }
    for (; i < n; ++i) subtract(values, A(factor(i)), row(i), size);
}

// to[j * to_stride + i] = from[i * from_stride + j], for n_rows x n_columns numbers.
template <class T>
inline void transpose(const T* from, std::size_t from_stride, std::size_t n_rows,
                      std::size_t n_columns, T* to, std::size_t to_stride) {
    std::size_t i = 0;
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
    using Four = typename RegisterOf<T, 4 * sizeof(T)>::type;
    for (; i + 4 <= n_rows; i += 4) {
        std::size_t j = 0;
        for (; j + 4 <= n_columns; j += 4) {
            Four r[4];
            for (std::size_t k = 0; k < 4; ++k)
                std::memcpy(&r[k], from + (i + k) * from_stride + j, sizeof(Four));
            const Four a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
            const Four b = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
            const Four c = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
            const Four d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
            r[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
            r[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
            r[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
            r[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
            for (std::size_t k = 0; k < 4; ++k)
                std::memcpy(to + (j + k) * to_stride + i, &r[k], sizeof(Four));
        }
        for (; j < n_columns; ++j)
            for (std::size_t k = 0; k < 4; ++k)
                to[j * to_stride + i + k] = from[(i + k) * from_stride + j];
    }
#endif
#endif
    for (; i < n_rows; ++i)
        for (std::size_t j = 0; j < n_columns; ++j)
            to[j * to_stride + i] = from[i * from_stride + j];
}

}  // namespace skddl
