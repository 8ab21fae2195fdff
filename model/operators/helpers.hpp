/// Threads that have nothing to do, for whoever has a loop that it need not do alone.
#pragma once
#include <cstdint>
#include <functional>

namespace enn::model {

class helpers {
public:
  /// Somebody would help now. To be asked before a loop is cut finer than one thread needs.
  virtual bool are_there() const = 0;
  /// Calls f(0) .. f(count - 1), each once, in any order or at once, and returns when all have returned. f does not throw.
  virtual void run(std::int64_t count, const std::function<void(std::int64_t)>& f) = 0;

protected:
  ~helpers() = default;
};

/// who->run(count, f), or one by one here if `who` is null.
inline void share(helpers* who, std::int64_t count, const std::function<void(std::int64_t)>& f) {
  if (who)
    return who->run(count, f);
  for (std::int64_t i = 0; i < count; ++i)
    f(i);
}

} // namespace enn::model
