// The threads that share a loop, and its items.
#pragma once

#include <atomic>
#include <cstddef>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <dlfcn.h>
#endif

namespace skddl {

// Runs a body on several threads at once: those of an OpenMP that the process has loaded already,
// if it is GNU's, else new ones. OpenMP's threads wait for more work by spinning, for milliseconds;
// those of any other pool would have to share the cores with them.
class Team {
  public:
    // `openmp`: path of the library, or empty.
    explicit Team(const std::string& openmp) {
#if defined(__linux__)
        void* library = openmp.empty() ? nullptr : dlopen(openmp.c_str(), RTLD_NOLOAD | RTLD_NOW);
        if (library != nullptr)
            parallel_ = reinterpret_cast<Parallel>(dlsym(library, "GOMP_parallel"));
#else
        (void)openmp;
#endif
    }

    bool is_openmp() const { return parallel_ != nullptr; }

    // Call body() on so many threads; it must not throw. Returns when all calls have.
    template <class Body>
    void run(unsigned n_threads, Body&& body) const {
        if (n_threads <= 1) {
            body();
        } else if (parallel_ != nullptr) {
            parallel_([](void* data) { (*static_cast<Body*>(data))(); }, &body, n_threads, 0);
        } else {
            std::vector<std::thread> others;
            others.reserve(n_threads - 1);
            try {
                while (others.size() < n_threads - 1) others.emplace_back([&body] { body(); });
            } catch (const std::exception&) {  // as many as there is room for
            }
            body();
            for (std::thread& other : others) other.join();
        }
    }

  private:
    using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);
    Parallel parallel_ = nullptr;
};

// Numbers from 0, handed out to threads one by one.
class Items {
  public:
    explicit Items(std::size_t n) : n_(n) {}
    bool take(std::size_t& item) {
        item = next_.fetch_add(1, std::memory_order_relaxed);
        return item < n_;
    }

  private:
    std::atomic<std::size_t> next_{0};
    std::size_t n_;
};

}  // namespace skddl
