// Arrays, of others and of our own.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>

#include "lanes.hpp"

namespace skddl {

// Rows of numbers that belong to someone else.
template <class T>
struct Rows {
    T* data = nullptr;
    std::size_t n_rows = 0, n_columns = 0;

    T* operator[](std::size_t row) const { return data + row * n_columns; }
    explicit operator bool() const { return data != nullptr; }
};

// Numbers of any value, that begin with a line of the cache.
template <class T>
class Buffer {
  public:
    Buffer() = default;
    explicit Buffer(std::size_t size) { reserve(size); }

    T* get() const { return data_.get(); }
    T& operator[](std::size_t i) const { return data_.get()[i]; }
    std::size_t size() const { return size_; }

    // Room for so many numbers, of which the first `kept` stay what they are.
    void reserve(std::size_t size, std::size_t kept = 0) {
        if (size <= size_) return;
        size = std::max(size, size_ + size_ / 2);
        std::unique_ptr<T[], Free> larger(
            static_cast<T*>(operator new[](size * sizeof(T), std::align_val_t(line_bytes))));
        std::copy_n(data_.get(), kept, larger.get());
        data_ = std::move(larger);
        size_ = size;
    }

  private:
    struct Free {
        void operator()(T* data) const { operator delete[](data, std::align_val_t(line_bytes)); }
    };
    std::unique_ptr<T[], Free> data_;
    std::size_t size_ = 0;
};

}  // namespace skddl
