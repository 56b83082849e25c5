// How a long computation is ended from outside.
#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <thread>

namespace skddl {

class Interrupted : public std::exception {};

// Asks, now and then, whether the computation is to end; only in the thread that has begun it.
class Interrupt {
  public:
    explicit Interrupt(bool (*is_wanted)()) : is_wanted_(is_wanted) {}

    // Whether it is to end, for all threads.
    bool asked() {
        if (std::this_thread::get_id() == caller_ && Clock::now() > next_) {
            if (is_wanted_()) is_set_ = true;
            next_ = Clock::now() + std::chrono::milliseconds(50);
        }
        return is_set_;
    }

  private:
    using Clock = std::chrono::steady_clock;
    bool (*is_wanted_)();
    std::thread::id caller_ = std::this_thread::get_id();
    Clock::time_point next_ = Clock::now() + std::chrono::milliseconds(50);
    std::atomic<bool> is_set_{false};
};

}  // namespace skddl
