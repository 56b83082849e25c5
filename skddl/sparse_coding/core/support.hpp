// The support of one code.
#pragma once

#include <algorithm>
#include <cstddef>

#include "memory.hpp"

namespace skddl {

// An entry of a code that is not zero.
struct Entry {
    std::size_t atom;
    double sign;
    double right;  // of the equations on the support: D_j x'
    double value;
};

// Entries in the order in which their atoms entered, or in that of the atoms.
class Support {
  public:
    std::size_t size() const { return size_; }
    Entry& operator[](std::size_t i) const { return entries_[i]; }

    // Keep the first entries.
    void shrink(std::size_t size) { size_ = size; }

    void push(std::size_t atom, double sign, double right) {
        entries_.reserve(size_ + 1, size_);
        entries_[size_++] = {atom, sign > 0 ? 1.0 : -1.0, right, 0};
    }

    void remove(std::size_t place) {
        Entry* const at = entries_.get() + place;
        std::copy(at + 1, entries_.get() + size_, at);
        --size_;
    }

    // Put the entries into the order of their atoms; the first place that changes, or the size.
    std::size_t sort() {
        std::size_t first = size_;
        for (std::size_t i = 1; i < size_; ++i) {
            const Entry entry = entries_[i];
            std::size_t place = i;
            for (; place > 0 && entries_[place - 1].atom > entry.atom; --place)
                entries_[place] = entries_[place - 1];
            entries_[place] = entry;
            if (place < i) first = std::min(first, place);
        }
        return first;
    }

  private:
    std::size_t size_ = 0;
    Buffer<Entry> entries_;
};

}  // namespace skddl
