/// Helpers for tests: a thread for each piece, the last piece first.
#pragma once
#include <enn/model/operators/helpers.hpp>

#include <thread>
#include <vector>

namespace enn::model::test {

struct helper_threads final : helpers {
  bool are_there() const override { return true; }
  void run(std::int64_t count, const std::function<void(std::int64_t)>& f) override {
    ++loops;
    std::vector<std::jthread> all;
    for (auto i = count - 1; i >= 0; --i)
      all.emplace_back([&f, i] { f(i); });
  }
  int loops = 0;
};

} // namespace enn::model::test
