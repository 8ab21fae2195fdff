#include <enn/serialization/credentials.hpp>

#include <enn/serialization/file.hpp>
#include <enn/serialization/posix.hpp>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <memory>

namespace enn::serialization {
namespace {

using std::chrono::system_clock;

template <auto Release>
struct releaser {
  template <class T>
  void operator()(T* object) const {
    Release(object);
  }
};
using key_ptr = std::unique_ptr<EVP_PKEY, releaser<EVP_PKEY_free>>;
using certificate_ptr = std::unique_ptr<X509, releaser<X509_free>>;
using bio_ptr = std::unique_ptr<BIO, releaser<BIO_free>>;
using extension_ptr = std::unique_ptr<X509_EXTENSION, releaser<X509_EXTENSION_free>>;

/// A certificate, and the key that it is for.
struct identity {
  certificate_ptr certificate;
  key_ptr key;
};

/// What libcrypto says last; the rest of its queue is dropped.
caf::error crypto_error(const std::string& what) {
  std::string reason = "no reason given";
  while (auto code = ERR_get_error())
    if (const char* text = ERR_reason_error_string(code))
      reason = text;
  return fail(ec::io_failed, what + ": " + reason);
}

// -- making ---------------------------------------------------------------------------------------------------------------

constexpr const char* organisation = "ENN cluster";

bool add_extension(X509* to, X509* issuer, int what, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, to, nullptr, nullptr, 0);
  extension_ptr extension{X509V3_EXT_conf_nid(nullptr, &context, what, value)};
  return extension && X509_add_ext(to, extension.get(), -1) == 1;
}

bool add_extensions(X509* to, X509* issuer, bool authority) {
  return authority ? add_extension(to, issuer, NID_basic_constraints, "critical,CA:TRUE,pathlen:0")
                       && add_extension(to, issuer, NID_key_usage, "critical,keyCertSign,cRLSign")
                       && add_extension(to, issuer, NID_subject_key_identifier, "hash")
                   : add_extension(to, issuer, NID_basic_constraints, "critical,CA:FALSE")
                       && add_extension(to, issuer, NID_key_usage, "critical,digitalSignature")
                       && add_extension(to, issuer, NID_ext_key_usage, "serverAuth,clientAuth")
                       && add_extension(to, issuer, NID_subject_key_identifier, "hash")
                       && add_extension(to, issuer, NID_authority_key_identifier, "keyid:always");
}

bool set_serial(X509* certificate) {
  std::array<unsigned char, 8> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1)
    return false;
  std::uint64_t number = 0;
  for (auto byte : bytes)
    number = number << 8 | byte;
  return ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), number >> 1 | 1) == 1; // positive, never 0
}

bool set_name(X509* certificate, const std::string& name) {
  auto* subject = X509_get_subject_name(certificate);
  auto add = [&](const char* field, const char* text) {
    return X509_NAME_add_entry_by_txt(subject, field, MBSTRING_ASC, reinterpret_cast<const unsigned char*>(text), -1, -1, 0) == 1;
  };
  return add("O", organisation) && add("CN", name.c_str());
}

/// A new P-256 key and its certificate, signed by `authority`, or by itself as an authority if there is none.
caf::expected<identity> issue(const std::string& name, const identity* authority, validity when) {
  if (authority == nullptr)
    when.to = std::chrono::hours{24 * 3650};
  identity made{certificate_ptr{X509_new()}, key_ptr{EVP_EC_gen("P-256")}};
  auto* c = made.certificate.get();
  auto* issuer = authority != nullptr ? authority->certificate.get() : c;
  bool good = c != nullptr && made.key && X509_set_version(c, 2) == 1 && set_serial(c) && set_name(c, name)
              && X509_set_issuer_name(c, X509_get_subject_name(issuer)) == 1
              && X509_gmtime_adj(X509_getm_notBefore(c), when.from.count()) != nullptr
              && X509_gmtime_adj(X509_getm_notAfter(c), when.to.count()) != nullptr && X509_set_pubkey(c, made.key.get()) == 1
              && add_extensions(c, issuer, authority == nullptr)
              && X509_sign(c, authority != nullptr ? authority->key.get() : made.key.get(), EVP_sha256()) != 0;
  if (!good)
    return crypto_error("cannot make a certificate for " + name);
  return made;
}

/// Two authorities never have one name, which a check by name alone would confuse.
caf::expected<identity> issue_authority() {
  std::array<unsigned char, 4> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1)
    return crypto_error("no random numbers");
  std::string name = "CA ";
  for (auto byte : bytes)
    for (auto digit : {byte >> 4, byte & 15})
      name += "0123456789abcdef"[digit];
  return issue(name, nullptr, {});
}

/// The text that `print` makes.
template <class Print>
caf::expected<std::string> pem(Print print) {
  bio_ptr memory{BIO_new(BIO_s_mem())};
  char* text = nullptr;
  if (!memory || print(memory.get()) != 1)
    return crypto_error("cannot write PEM");
  auto size = BIO_get_mem_data(memory.get(), &text);
  return std::string(text, static_cast<std::size_t>(size));
}

caf::expected<std::string> pem_of(X509* certificate) {
  return pem([&](BIO* out) { return PEM_write_bio_X509(out, certificate); });
}

caf::expected<std::string> pem_of(EVP_PKEY* key) {
  return pem([&](BIO* out) { return PEM_write_bio_PKCS8PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr); });
}

/// A new file, from its first byte on for nobody but its owner if it is secret.
caf::expected<void> write_new(const fs::path& path, const caf::expected<std::string>& content, bool secret) {
  if (!content)
    return content.error();
  descriptor file{::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, secret ? 0600 : 0644)};
  if (!file)
    return os_error(path, "create", errno);
  if (auto code = write_at(file.get(), bytes_of(*content), 0))
    return os_error(path, "write", code);
  if (::fsync(file.get()) != 0)
    return os_error(path, "sync", errno);
  return {};
}

/// Closed to others if it is new.
caf::expected<void> make_private_folder(const fs::path& folder) {
  if (auto there = make_folder(folder_of(folder)); !there)
    return there;
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return os_error(folder, "make the folder", errno);
  return sync_folder(folder_of(folder));
}

caf::expected<void> write_files(const fs::path& folder, X509* authority, const identity& machine) {
  if (auto done = write_new(folder / "ca.pem", pem_of(authority), false); !done)
    return done;
  if (auto done = write_new(folder / "node.pem", pem_of(machine.certificate.get()), false); !done)
    return done;
  if (auto done = write_new(folder / "node.key", pem_of(machine.key.get()), true); !done)
    return done;
  return sync_folder(folder);
}

/// Beside the place that they are for, then renamed: there is all of a machine or nothing.
caf::expected<void> write_machine(const fs::path& folder, X509* authority, const identity& machine) {
  auto draft = folder;
  draft += ".new";
  std::error_code code;
  fs::remove_all(draft, code); // of one that was interrupted
  if (::mkdir(draft.c_str(), 0700) != 0)
    return os_error(draft, "make the folder", errno);
  auto written = write_files(draft, authority, machine);
  if (written && ::rename(draft.c_str(), folder.c_str()) != 0) // fails if there is one with anything in it
    written = os_error(folder, "make", errno);
  if (!written) {
    fs::remove_all(draft, code);
    return written;
  }
  return sync_folder(folder_of(folder));
}

// -- reading ---------------------------------------------------------------------------------------------------------------

caf::expected<std::string> read_pem(const fs::path& path, const std::string& advice) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0 && errno == ENOENT)
    return fail(ec::bad_usage, path.string() + ": there is no such file; " + advice);
  auto text = read_file(path);
  if (!text)
    return fail(ec::bad_usage, text_of(text.error()) + "; " + advice);
  return text;
}

caf::expected<certificate_ptr> read_certificate(const fs::path& path, const std::string& advice) {
  auto text = read_pem(path, advice);
  if (!text)
    return text.error();
  bio_ptr memory{BIO_new_mem_buf(text->data(), static_cast<int>(text->size()))};
  certificate_ptr result{memory ? PEM_read_bio_X509(memory.get(), nullptr, nullptr, nullptr) : nullptr};
  ERR_clear_error();
  if (!result)
    return fail(ec::bad_usage, path.string() + ": holds no certificate in PEM; " + advice);
  return result;
}

caf::expected<key_ptr> read_key(const fs::path& path, const std::string& advice) {
  auto text = read_pem(path, advice);
  if (!text)
    return text.error();
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0)
    return os_error(path, "look at", errno);
  if ((facts.st_mode & 077) != 0)
    return fail(ec::bad_usage, path.string() + ": others than its owner can read this key; chmod 600 it, or make a new cluster if "
                                               "somebody may have read it");
  bio_ptr memory{BIO_new_mem_buf(text->data(), static_cast<int>(text->size()))};
  auto no_passphrase = [](char*, int, int, void*) { return 0; }; // never asked for on the terminal
  key_ptr result{memory ? PEM_read_bio_PrivateKey(memory.get(), nullptr, no_passphrase, nullptr) : nullptr};
  ERR_clear_error();
  if (!result)
    return fail(ec::bad_usage, path.string() + ": holds no private key in PEM, or one with a passphrase; " + advice);
  return result;
}

std::string fingerprint_of(X509* certificate) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned size = 0;
  X509_digest(certificate, EVP_sha256(), bytes.data(), &size);
  std::string text;
  for (unsigned i = 0; i < size; ++i)
    for (auto digit : {bytes[i] >> 4, bytes[i] & 15})
      text += "0123456789abcdef"[digit];
  return text;
}

system_clock::time_point time_of(const ASN1_TIME* when) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(when, &parts) != 1)
    return {};
  return system_clock::from_time_t(::timegm(&parts));
}

std::string date_text(system_clock::time_point when) {
  auto seconds = system_clock::to_time_t(when);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M UTC", &parts);
  return text.data();
}

caf::expected<void> check_dates(const fs::path& path, X509* certificate, const std::string& advice) {
  auto from = time_of(X509_get0_notBefore(certificate)), to = time_of(X509_get0_notAfter(certificate));
  auto now = system_clock::now();
  if (now >= to)
    return fail(ec::bad_usage, path.string() + ": expired on " + date_text(to) + "; " + advice);
  if (now < from)
    return fail(ec::bad_usage, path.string() + ": holds from " + date_text(from) + " on, which is not yet; set this machine's clock");
  return {};
}

/// A certificate and the CA in the same folder.
caf::expected<credentials> check(const fs::path& folder, const std::string& advice) {
  credentials c{folder / "ca.pem", folder / "node.pem", folder / "node.key", {}, 0};
  auto authority = read_certificate(c.authority, advice);
  if (!authority)
    return authority.error();
  auto certificate = read_certificate(c.certificate, advice);
  if (!certificate)
    return certificate.error();
  auto key = read_key(c.key, advice);
  if (!key)
    return key.error();
  auto *ca = authority->get(), *own = certificate->get();
  if (X509_check_ca(ca) != 1)
    return fail(ec::bad_usage, c.authority + ": is not the certificate of an authority; " + advice);
  if (X509_check_private_key(own, key->get()) != 1)
    return ERR_clear_error(), fail(ec::bad_usage, c.key + ": is not the key of " + c.certificate + "; " + advice);
  if (X509_check_issued(ca, own) != X509_V_OK || X509_verify(own, X509_get0_pubkey(ca)) != 1)
    return ERR_clear_error(), fail(ec::bad_usage, c.certificate + ": was not signed by " + c.authority + "; " + advice);
  for (auto [path, x] : {std::pair{c.authority, ca}, {c.certificate, own}})
    if (auto good = check_dates(path, x, advice); !good)
      return good.error();
  c.cluster = fingerprint_of(ca);
  auto end = std::min(time_of(X509_get0_notAfter(ca)), time_of(X509_get0_notAfter(own)));
  c.days_left = std::chrono::duration_cast<std::chrono::hours>(end - system_clock::now()).count() / 24;
  return c;
}

/// The CA of a cluster that was made before.
caf::expected<identity> load_authority(const fs::path& folder) {
  auto path = folder / "ca.pem";
  auto advice = "copy it here from where the cluster was made, or choose another folder for a new cluster";
  auto certificate = read_certificate(path, advice);
  if (!certificate)
    return certificate.error();
  auto key = read_key(folder / "ca.key", advice);
  if (!key)
    return key.error();
  if (X509_check_private_key(certificate->get(), key->get()) != 1)
    return ERR_clear_error(), fail(ec::bad_usage, (folder / "ca.key").string() + ": is not the key of " + path.string() + "; " + advice);
  if (auto good = check_dates(path, certificate->get(), "make a new cluster in another folder"); !good)
    return good.error();
  return identity{std::move(*certificate), std::move(*key)};
}

caf::expected<identity> make_authority(const fs::path& folder) {
  auto made = issue_authority();
  if (!made)
    return made.error();
  if (auto there = make_private_folder(folder); !there)
    return there.error();
  // The key first: a certificate without it looks like a machine's folder, a key alone is noticed.
  if (auto done = write_new(folder / "ca.key", pem_of(made->key.get()), true); !done)
    return done.error();
  if (auto done = write_new(folder / "ca.pem", pem_of(made->certificate.get()), false); !done)
    return done.error();
  if (auto done = sync_folder(folder); !done)
    return done.error();
  return made;
}

caf::expected<void> check_name(const std::string& name) {
  auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  };
  if (name.empty() || name.size() > 64 || name.front() == '.' || name.front() == '-' || !std::all_of(name.begin(), name.end(), plain)
      || name == "ca.pem" || name == "ca.key" || name.ends_with(".new"))
    return fail(ec::bad_usage, "\"" + name + "\" is no name for a machine: at most 64 letters, digits, - _ and ., the first a letter or digit");
  return {};
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

} // namespace

caf::expected<credentials> load_credentials(const fs::path& folder) {
  std::string advice = "give the folder of one machine, FOLDER/NAME, as enn cluster init FOLDER --node NAME makes it";
  if (is_there(folder / "ca.key") && !is_there(folder / "node.key"))
    return fail(ec::bad_usage, folder.string() + " is the folder of a cluster, not of a machine; " + advice);
  return check(folder, advice);
}

caf::expected<credentials> make_credentials(const fs::path& folder) {
  auto authority = issue_authority();
  if (!authority)
    return authority.error();
  auto machine = issue("run", &*authority, {});
  if (!machine)
    return machine.error();
  if (auto there = make_private_folder(folder); !there)
    return there.error();
  for (const char* name : {"ca.pem", "node.pem", "node.key"})
    if (::unlink((folder / name).c_str()) != 0 && errno != ENOENT)
      return os_error(folder / name, "remove", errno);
  if (auto made = write_files(folder, authority->certificate.get(), *machine); !made)
    return made.error();
  return check(folder, "start the run again");
}

caf::expected<cluster_files> init_cluster(const fs::path& folder, const std::vector<std::string>& names, validity when) {
  for (const auto& name : names)
    if (auto good = check_name(name); !good)
      return good.error();
  cluster_files result;
  result.new_authority = !is_there(folder / "ca.pem") && !is_there(folder / "ca.key");
  auto authority = result.new_authority ? make_authority(folder) : load_authority(folder);
  if (!authority)
    return authority.error();
  result.cluster = fingerprint_of(authority->certificate.get());
  for (const auto& name : names) {
    if (is_there(folder / name)) {
      auto there = check(folder / name, "remove " + (folder / name).string() + " to have it made anew");
      if (!there)
        return there.error();
      if (there->cluster != result.cluster)
        return fail(ec::bad_usage, (folder / name).string() + " belongs to another cluster than " + folder.string()
                                     + "; remove it to have it made anew");
      result.kept.push_back(name);
      continue;
    }
    auto machine = issue(name, &*authority, when);
    if (!machine)
      return machine.error();
    if (auto made = write_machine(folder / name, authority->certificate.get(), *machine); !made)
      return made.error();
    result.made.push_back(name);
  }
  return result;
}

} // namespace enn::serialization
