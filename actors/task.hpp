/// What a broker is at: a step, an evaluation, or a pass of predictions, cut into leases. A value without actors.
#pragma once
#include <enn/actors/block_tree.hpp>
#include <enn/actors/lease_book.hpp>

#include <caf/actor_addr.hpp>

#include <map>

namespace enn::actors {

/// Lease i: rows[cuts[i]] .. rows[cuts[i + 1]].
using row_cuts = std::vector<std::size_t>;

/// As many leases as the run has, whatever the number of rows.
inline row_cuts cuts_of_step(std::span<const std::uint64_t> rows, std::int64_t leases) {
  row_cuts cuts{0};
  for (std::int64_t i = 0; i < leases; ++i)
    cuts.push_back(cuts.back() + model::rows_of_lease(rows, i, leases).size());
  return cuts;
}

/// Pieces no larger than a training lease, so that a worker needs no more memory for them.
inline row_cuts cuts_of_pieces(std::size_t rows, const model::train_config& train) {
  auto piece = static_cast<std::size_t>((train.batch_rows + train.leases - 1) / train.leases);
  row_cuts cuts{0};
  while (cuts.back() < rows)
    cuts.push_back(std::min(cuts.back() + piece, rows));
  return cuts;
}

struct task {
  std::uint64_t number = 0;
  model::lease_kind kind = model::lease_kind::train;
  std::int64_t step = 0;
  serialization::weights_id weights;
  serialization::row_list rows;
  row_cuts cuts;
  lease_book book;
  block_tree sums{1};                      // train
  std::vector<std::vector<double>> losses; // evaluate: one entry a lease
  std::uint32_t reissues = 0;

  std::span<const std::uint64_t> rows_of(std::uint32_t index) const {
    return std::span{rows.rows}.subspan(cuts[index], cuts[index + 1] - cuts[index]);
  }
  bool has(const serialization::block& b) const {
    return b.task == number && b.kind == kind && std::uint64_t{b.first} + b.count <= book.size();
  }

  // Who computed what (train), to find out who computed wrongly: the same range and rungs must have the same hash.
  struct answer {
    caf::actor_addr from;
    std::vector<model::rung> rungs;
    std::uint64_t hash = 0;
  };
  enum class comparison {
    agrees,  // with all that are known, if any
    differs, // from all that are known: one of them, or this one, is wrong
    decided, // agrees with one and differs from another
  };
  std::multimap<std::pair<std::uint32_t, std::uint32_t>, answer> answers; // by first and count
  std::vector<caf::actor_addr> disputed, liars; // get no more leases of this task; were found wrong

  comparison compare(const serialization::block& b, const caf::actor_addr& from) {
    bool known = false, agrees = false;
    std::vector<caf::actor_addr> others;
    for (auto [it, last] = answers.equal_range({b.first, b.count}); it != last; ++it)
      if (it->second.rungs == b.rungs) {
        known = true;
        if (it->second.hash == b.hash)
          agrees = true;
        else
          others.push_back(it->second.from);
      }
    answers.emplace(std::pair{b.first, b.count}, answer{from, b.rungs, b.hash});
    if (!known || (agrees && others.empty()))
      return comparison::agrees;
    if (agrees) {
      liars = std::move(others);
      return comparison::decided;
    }
    for (const auto& node : others)
      if (!is_disputed(node))
        disputed.push_back(node);
    disputed.push_back(from);
    return comparison::differs;
  }
  bool is_disputed(const caf::actor_addr& node) const { return std::find(disputed.begin(), disputed.end(), node) != disputed.end(); }
};

} // namespace enn::actors
