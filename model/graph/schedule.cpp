#include <enn/model/graph/schedule.hpp>

#include <enn/kernels/random.hpp>
#include <enn/model/graph/arena.hpp>
#include <enn/model/graph/reach.hpp>

#include <algorithm>

namespace enn::model {
namespace {

std::size_t at(value_id v) {
  return static_cast<std::size_t>(v);
}

template <class T>
std::unique_ptr<bound_operator<T>> bind(const operator_definition& d, const node_facts& f) {
  if constexpr (sizeof(T) == sizeof(float))
    return d.bind_float(f);
  else
    return d.bind_double(f);
}

} // namespace

template <class T>
struct schedule<T>::parts {
  /// A node that runs. Pointers into the arena, the gradient and the weights are set when they are known: the first once, the
  /// others at each run.
  struct step {
    const node* from = nullptr;
    std::unique_ptr<bound_operator<T>> op;
    bool is_view = false, swallows_gradient = false, backward = false;
    unsigned swallows = 0;
    std::uint32_t path_hash = 0;
    std::vector<const T*> in;
    std::vector<T*> out;
    std::vector<const T*> d_out;
    std::vector<T*> d_in;
    T *saved = nullptr, *scratch = nullptr;
    std::vector<std::span<T>> zeroed; // gradients that this step, in backward, is the first to add to
    std::vector<std::size_t> watched_in, watched_out; // that run() inspects
  };
  struct patch { // a pointer of a step that follows the weights or the gradient
    std::size_t step, slot;
    std::int64_t offset;
  };
  struct kept_output {
    const model::output* from;
    std::span<T> values, gradient; // gradient: losses of a backward plan
  };
  /// Backward starts here.
  static bool seeds(const kept_output& o, const reach& r) { return o.from->role == output_role::loss && r.wanted[at(o.from->value)]; }

  std::shared_ptr<const graph> network;
  schedule_plan plan;
  const kernels::kernel_table<T>& kernels;
  std::int64_t weight_count = 0;
  std::vector<step> steps;
  std::vector<const node*> nodes;
  std::vector<patch> weight_slots, gradient_slots;
  std::vector<kept_output> outputs;
  std::vector<T> arena, constants;
  std::map<std::string, std::span<T>, std::less<>> inputs;
  kernels::finiteness watched; // what the latest run saw on its way

  parts(std::shared_ptr<const graph> g, schedule_plan p, const kernels::kernel_table<T>& k, const operator_table& table)
    : network(std::move(g)), plan(std::move(p)), kernels(k) {
    compile(table);
  }

  std::int64_t size_of(value_id v) const { return elements(network->values[at(v)], plan.rows); }

  void compile(const operator_table& table);
  std::vector<const model::output*> chosen_outputs() const;
  void reserve(const reach& r, arena_planner& planner);
  struct fixed_places { // a value
    std::vector<T*> memory;            // of inputs and buffers
    std::vector<std::int64_t> weight;  // where it begins in the weight vector, or -1
  };
  fixed_places place_fixed(const reach& r);
  void connect(const reach& r, const arena_planner& planner);
  void watch(const arena_planner& planner);

  call<T> call_of(const step& s, const schedule_inputs<T>& in) const {
    call<T> c;
    c.kernels = &kernels;
    c.rows = plan.rows;
    c.seed = in.seed;
    c.step = in.step;
    c.row_numbers = in.row_numbers;
    c.path_hash = s.path_hash;
    c.in = s.in;
    c.out = s.out;
    c.d_out = s.d_out;
    c.d_in = s.d_in;
    c.saved = s.saved;
    c.scratch = s.scratch;
    c.helpers = in.helpers;
    return c;
  }

  kernels::finiteness look(std::span<const T> values) const {
    return kernels.count_nonfinite(static_cast<std::int64_t>(values.size()), values.data());
  }
  kernels::finiteness look(const T* values, value_id v) const { return look({values, static_cast<std::size_t>(size_of(v))}); }
  static bool in_range(double largest) { return sizeof(T) > sizeof(float) || largest <= range_limit; }
  static bool is_bad(kernels::finiteness f) { return f.nonfinite > 0 || !in_range(f.largest); }
  static void add(kernels::finiteness f, kernels::finiteness& to) {
    to.nonfinite += f.nonfinite;
    to.largest = std::max(to.largest, f.largest);
  }

  template <class After>
  void forward(const schedule_inputs<T>& in, After&& after);
  template <class Before, class After>
  void backward(const schedule_inputs<T>& in, std::span<T> gradient, Before&& before, After&& after);
  void change(const schedule_inputs<T>& in, number_place::kind what, const step& s, std::size_t slot, T* values, value_id v) const;
  void change_inputs(const schedule_inputs<T>& in);
  void mark_rows(value_id v, const T* values, std::vector<bool>& rows) const;
  void attribute(const schedule_inputs<T>& in, std::span<T> gradient, numeric_health& health);
};

// -- compile --------------------------------------------------------------------------------------------------------------

template <class T>
std::vector<const model::output*> schedule<T>::parts::chosen_outputs() const {
  std::vector<const model::output*> chosen;
  for (const auto& path : plan.outputs) {
    const auto* o = find_output(*network, path);
    require(o, "the graph has no output " + path);
    chosen.push_back(o);
  }
  for (const auto& o : network->outputs)
    if (plan.backward && o.role == output_role::loss && std::find(chosen.begin(), chosen.end(), &o) == chosen.end())
      chosen.push_back(&o);
  return chosen;
}

template <class T>
void schedule<T>::parts::compile(const operator_table& table) {
  std::vector<const operator_definition*> ops;
  for (const auto& n : network->nodes) {
    ops.push_back(table.find(n.op));
    require(ops.back() && ops.back()->version == n.version, n.path + ": operator " + n.op + " version " + std::to_string(n.version)
                                                              + " is not known here");
  }
  auto chosen = chosen_outputs();
  auto r = find_reach(*network, ops, chosen, plan.backward);
  for (const auto* o : chosen)
    outputs.push_back({o, {}, {}});
  for (int i : r.nodes) {
    const auto& n = network->nodes[static_cast<std::size_t>(i)];
    const auto& d = *ops[static_cast<std::size_t>(i)];
    node_facts facts{&n.attrs, {}, {}};
    for (auto v : n.inputs)
      facts.inputs.push_back(network->values[at(v)]);
    for (auto v : n.outputs)
      facts.outputs.push_back(network->values[at(v)]);
    step s;
    s.from = &n;
    s.op = bind<T>(d, facts);
    s.is_view = d.is_view;
    s.swallows = d.swallows;
    s.swallows_gradient = d.swallows_gradient;
    s.path_hash = kernels::purpose_hash(n.path);
    for (std::size_t k = 0; k < n.inputs.size(); ++k)
      s.backward |= r.wanted[at(n.inputs[k])] && differentiable(d, k);
    s.backward &= std::any_of(n.outputs.begin(), n.outputs.end(), [&](value_id v) { return r.wanted[at(v)]; });
    steps.push_back(std::move(s));
    nodes.push_back(&n);
  }
  arena_planner planner{network->values.size()};
  reserve(r, planner);
  connect(r, planner);
  watch(planner);
}

/// Time: step i runs forward at i and backward at 2n - 1 - i. Says which buffer is needed when.
template <class T>
void schedule<T>::parts::reserve(const reach& r, arena_planner& planner) {
  auto n = static_cast<int>(steps.size());
  int end = 2 * n;
  for (int i = 0; i < n; ++i) {
    auto& s = steps[static_cast<std::size_t>(i)];
    int back = end - 1 - i;
    if (s.is_view) {
      planner.alias(s.from->outputs[0], s.from->inputs[0], s.backward);
    } else {
      for (auto v : s.from->outputs)
        planner.value(v, size_of(v), i);
    }
    for (auto v : s.from->inputs)
      planner.use(v, i);
    planner.scratch(s.op->scratch_size(plan.rows, kernels));
    planner.saved(i, s.op->saved_size(plan.rows), i, s.backward ? back : i);
    if (!s.backward)
      continue;
    auto reads = s.op->reads();
    for (std::size_t k = 0; k < s.from->inputs.size(); ++k)
      if (reads.inputs >> std::min<std::size_t>(k, 31) & 1)
        planner.use(s.from->inputs[k], back);
    for (std::size_t k = 0; k < s.from->outputs.size(); ++k)
      if (reads.outputs >> k & 1)
        planner.use(s.from->outputs[k], back);
  }
  for (const auto& o : outputs)
    planner.use(o.from->value, end);
  for (int i = n; i-- > 0;) { // gradients, in the order of backward
    const auto& s = steps[static_cast<std::size_t>(i)];
    if (!s.backward)
      continue;
    for (auto v : s.from->outputs)
      if (r.wanted[at(v)])
        planner.gradient(v, size_of(v), end - 1 - i);
    for (auto v : s.from->inputs)
      if (r.wanted[at(v)])
        planner.gradient(v, size_of(v), end - 1 - i);
  }
  for (const auto& o : outputs)
    if (seeds(o, r))
      planner.gradient(o.from->value, size_of(o.from->value), n - 1);
  planner.place();
}

/// Inputs and buffers get memory of their own, which nothing else uses; weights have places in the weight vector.
template <class T>
auto schedule<T>::parts::place_fixed(const reach& r) -> fixed_places {
  const auto& g = *network;
  fixed_places places{std::vector<T*>(g.values.size(), nullptr), std::vector<std::int64_t>(g.values.size(), -1)};
  auto kept = [&](const parameter& p) { return !p.trainable && r.needed[at(p.value)]; };
  auto room = [&](value_id v) { return (size_of(v) + 15) / 16 * 16; };
  std::int64_t size = 0;
  for (const auto& x : g.inputs)
    size += r.needed[at(x.value)] ? room(x.value) : 0;
  for (const auto& p : g.parameters)
    size += kept(p) ? room(p.value) : 0;
  constants.assign(static_cast<std::size_t>(size), T{0});
  T* next = constants.data();
  auto take = [&](value_id v) {
    places.memory[at(v)] = next;
    next += room(v);
    return places.memory[at(v)];
  };
  for (const auto& x : g.inputs)
    if (r.needed[at(x.value)])
      inputs[x.path] = {take(x.value), static_cast<std::size_t>(size_of(x.value))};
  for (const auto& p : g.parameters) {
    if (p.trainable) {
      places.weight[at(p.value)] = weight_count;
      weight_count += elements(g.values[at(p.value)]);
    } else if (kept(p)) {
      std::transform(p.data.begin(), p.data.end(), take(p.value), [](double x) { return static_cast<T>(x); });
    }
  }
  return places;
}

/// Fills in all pointers of all steps, from the last to the first, as gradients are made.
template <class T>
void schedule<T>::parts::connect(const reach& r, const arena_planner& planner) {
  auto places = place_fixed(r);
  arena.assign(static_cast<std::size_t>(planner.size()), T{0});
  auto value = [&](value_id v) -> T* { // null: a weight
    auto root = at(planner.root(v));
    return places.memory[root] ? places.memory[root] : places.weight[root] >= 0 ? nullptr : arena.data() + planner.value_offset(v);
  };
  auto gradient = [&](value_id v) { return arena.data() + planner.gradient_offset(v); };
  std::vector<bool> begun(network->values.size(), false); // gradients that something was added to
  for (auto& o : outputs) {
    auto size = static_cast<std::size_t>(size_of(o.from->value));
    o.values = {value(o.from->value), size};
    if (!seeds(o, r))
      continue;
    o.gradient = {gradient(o.from->value), size};
    begun[at(planner.gradient_root(o.from->value))] = true;
  }
  for (std::size_t i = steps.size(); i-- > 0;) {
    auto& s = steps[i];
    for (auto v : s.from->outputs) {
      s.out.push_back(s.is_view ? nullptr : value(v));
      bool arrived = s.backward && r.wanted[at(v)] && begun[at(planner.gradient_root(v))];
      s.d_out.push_back(arrived ? gradient(v) : nullptr);
    }
    for (std::size_t k = 0; k < s.from->inputs.size(); ++k) {
      auto v = s.from->inputs[k];
      s.in.push_back(value(v));
      if (!s.in.back())
        weight_slots.push_back({i, k, places.weight[at(planner.root(v))]});
      s.d_in.push_back(nullptr);
      if (!s.backward || !r.wanted[at(v)])
        continue;
      auto root = planner.gradient_root(v);
      if (places.weight[at(root)] >= 0) {
        gradient_slots.push_back({i, k, places.weight[at(root)]});
        continue;
      }
      s.d_in.back() = gradient(v);
      if (!begun[at(root)])
        s.zeroed.push_back({gradient(root), static_cast<std::size_t>(size_of(root))});
      begun[at(root)] = true;
    }
    s.saved = arena.data() + planner.saved_offset(static_cast<int>(i));
    s.scratch = arena.data() + planner.scratch_offset();
  }
}

/// What some operator may swallow, looked at where it was made and still lies in the cache, and what nobody reads. Of what no
/// step makes, inputs and weights, where it is read; buffers do not change.
template <class T>
void schedule<T>::parts::watch(const arena_planner& planner) {
  std::vector<bool> made(network->values.size(), false), buffer = made, read = made, swallowed = made;
  auto root = [&](value_id v) { return at(planner.root(v)); };
  auto swallows = [](const step& s, std::size_t input) { return s.swallows >> std::min<std::size_t>(input, 31) & 1; };
  for (const auto& p : network->parameters)
    buffer[at(p.value)] = !p.trainable;
  for (const auto& o : outputs)
    read[root(o.from->value)] = true;
  for (const auto& s : steps) {
    if (s.is_view)
      continue;
    for (auto v : s.from->outputs)
      made[at(v)] = true;
    for (std::size_t k = 0; k < s.from->inputs.size(); ++k) {
      auto v = root(s.from->inputs[k]);
      read[v] = true;
      swallowed[v] = swallowed[v] || swallows(s, k);
    }
  }
  for (auto& s : steps) {
    if (s.is_view)
      continue;
    for (std::size_t k = 0; k < s.from->outputs.size(); ++k)
      if (auto v = at(s.from->outputs[k]); swallowed[v] || !read[v])
        s.watched_out.push_back(k);
    for (std::size_t k = 0; k < s.from->inputs.size(); ++k)
      if (auto v = root(s.from->inputs[k]); swallows(s, k) && !made[v] && !buffer[v])
        s.watched_in.push_back(k);
  }
}

// -- run ------------------------------------------------------------------------------------------------------------------

template <class T>
void schedule<T>::parts::change(const schedule_inputs<T>& in, number_place::kind what, const step& s, std::size_t slot, T* values,
                                value_id v) const {
  if (auto c = (*in.fault)({what, s.from->path, slot, size_of(v)}))
    c->apply(values);
}

/// Not states: they outlive a pass.
template <class T>
void schedule<T>::parts::change_inputs(const schedule_inputs<T>& in) {
  for (const auto& x : network->inputs)
    if (auto to = inputs.find(x.path); to != inputs.end() && x.role != input_role::state)
      if (auto c = (*in.fault)({number_place::kind::input, x.path, 0, size_of(x.value)}))
        c->apply(to->second.data());
}

template <class T>
template <class After>
void schedule<T>::parts::forward(const schedule_inputs<T>& in, After&& after) {
  for (const auto& w : weight_slots)
    steps[w.step].in[w.slot] = in.weights.data() + w.offset;
  if (in.fault)
    change_inputs(in);
  for (auto& s : steps) {
    if (!s.is_view)
      s.op->forward(call_of(s, in));
    for (std::size_t k = 0; in.fault && !s.is_view && k < s.out.size(); ++k)
      change(in, number_place::kind::output, s, k, s.out[k], s.from->outputs[k]);
    after(s);
  }
}

template <class T>
template <class Before, class After>
void schedule<T>::parts::backward(const schedule_inputs<T>& in, std::span<T> gradient, Before&& before, After&& after) {
  for (const auto& d : gradient_slots)
    steps[d.step].d_in[d.slot] = gradient.data() + d.offset;
  std::fill(gradient.begin(), gradient.end(), T{0});
  for (auto& o : outputs)
    std::fill(o.gradient.begin(), o.gradient.end(), static_cast<T>(o.from->weight) * in.loss_scale);
  for (auto s = steps.rbegin(); s != steps.rend(); ++s) {
    if (!s->backward)
      continue;
    for (auto z : s->zeroed)
      std::fill(z.begin(), z.end(), T{0});
    if (s->is_view || std::none_of(s->d_out.begin(), s->d_out.end(), [](const T* d) { return d; }))
      continue;
    before(*s);
    s->op->backward(call_of(*s, in));
    for (std::size_t k = 0; in.fault && k < s->d_in.size(); ++k)
      if (s->d_in[k])
        change(in, number_place::kind::gradient, *s, k, s->d_in[k], s->from->inputs[k]);
    after(*s);
  }
}

/// The rows with a bad number. Of a value that is no row's, all.
template <class T>
void schedule<T>::parts::mark_rows(value_id v, const T* values, std::vector<bool>& rows) const {
  const auto& s = network->values[at(v)];
  auto size = elements(s, 1);
  for (std::size_t r = 0; r < rows.size(); ++r)
    if (!is_batched(s) || is_bad(look({values + static_cast<std::int64_t>(r) * size, static_cast<std::size_t>(size)})))
      rows[r] = true;
}

template <class T>
void schedule<T>::parts::attribute(const schedule_inputs<T>& in, std::span<T> gradient, numeric_health& health) {
  std::vector<bool> rows(in.row_numbers.size(), false), input_rows = rows;
  auto blame = [&](const step& s, const char* suffix, const T* values, value_id v, bool marks) {
    if (!is_bad(look(values, v)))
      return;
    if (health.first_node.empty())
      health.first_node = s.from->path + suffix;
    if (marks)
      mark_rows(v, values, rows);
  };
  forward(in, [&](const step& s) {
    for (auto k : s.watched_in)
      blame(s, "", s.in[k], s.from->inputs[k], true);
    for (std::size_t k = 0; k < s.out.size() && !s.is_view; ++k)
      blame(s, "", s.out[k], s.from->outputs[k], true);
  });
  if (plan.backward)
    backward(in, gradient, [](const step&) {}, [&](const step& s) {
      for (std::size_t k = 0; k < s.d_in.size(); ++k)
        if (s.d_in[k]) // sums over rows tell nothing of a row
          blame(s, ".grad", s.d_in[k], s.from->inputs[k], is_batched(network->values[at(s.from->inputs[k])]));
    });
  health.parameters_finite = look(in.weights).nonfinite == 0;
  for (const auto& x : network->inputs)
    if (auto values = inputs.find(x.path); values != inputs.end() && look(values->second).nonfinite > 0) {
      health.inputs_finite = false;
      mark_rows(x.value, values->second.data(), input_rows);
    }
  for (std::size_t r = 0; r < rows.size(); ++r) {
    if (input_rows[r])
      health.input_rows.push_back(in.row_numbers[r]);
    if (rows[r] || input_rows[r])
      health.rows.push_back(in.row_numbers[r]);
  }
}

// -- the class ------------------------------------------------------------------------------------------------------------

template <class T>
schedule<T>::schedule(std::shared_ptr<const graph> g, schedule_plan plan, const kernels::kernel_table<T>& kernels,
                      const operator_table& operators)
  : parts_(std::make_unique<parts>(std::move(g), std::move(plan), kernels, operators)) {}
template <class T>
schedule<T>::~schedule() = default;
template <class T>
schedule<T>::schedule(schedule&&) noexcept = default;

template <class T>
std::span<T> schedule<T>::input(std::string_view path) {
  auto found = parts_->inputs.find(path);
  return found == parts_->inputs.end() ? std::span<T>{} : found->second;
}

template <class T>
std::span<const T> schedule<T>::output(std::string_view path) const {
  for (const auto& o : parts_->outputs)
    if (o.from->path == path)
      return o.values;
  throw std::logic_error("output " + std::string{path} + " is not in the plan");
}

template <class T>
void schedule<T>::run(const schedule_inputs<T>& in, std::span<T> gradient) {
  auto& p = *parts_;
  require(static_cast<std::int64_t>(in.weights.size()) == p.weight_count, "the weights are not of this graph");
  require(!p.plan.backward || static_cast<std::int64_t>(gradient.size()) == p.weight_count, "the gradient is not of this graph");
  p.watched = {};
  p.forward(in, [&](const auto& s) {
    for (auto k : s.watched_in)
      p.add(p.look(s.in[k], s.from->inputs[k]), p.watched);
    for (auto k : s.watched_out)
      p.add(p.look(s.out[k], s.from->outputs[k]), p.watched);
  });
  if (p.plan.backward)
    p.backward(in, gradient, [&](const auto& s) {
      for (std::size_t k = 0; s.swallows_gradient && k < s.d_out.size(); ++k)
        if (s.d_out[k])
          p.add(p.look(s.d_out[k], s.from->outputs[k]), p.watched);
    }, [](const auto&) {});
}

template <class T>
numeric_health schedule<T>::inspect(const schedule_inputs<T>& in, std::span<T> gradient) {
  auto& p = *parts_;
  auto all = p.watched;
  for (const auto& o : p.outputs)
    p.add(p.look(o.values), all);
  if (p.plan.backward)
    p.add(p.look(gradient), all);
  numeric_health health;
  health.nonfinite = all.nonfinite;
  health.largest = all.largest;
  health.in_range = p.in_range(all.largest);
  if (p.is_bad(all))
    p.attribute(in, gradient, health);
  return health;
}

template <class T>
std::int64_t schedule<T>::arena_size() const {
  return static_cast<std::int64_t>(parts_->arena.size() + parts_->constants.size());
}
template <class T>
std::int64_t schedule<T>::step_count() const {
  return static_cast<std::int64_t>(parts_->steps.size());
}
template <class T>
std::span<const node* const> schedule<T>::nodes() const {
  return parts_->nodes;
}

template class schedule<float>;
template class schedule<double>;

} // namespace enn::model
