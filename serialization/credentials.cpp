#include <enn/serialization/credentials.hpp>

#include <enn/serialization/file.hpp>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <sys/stat.h>
#include <unistd.h>

namespace enn::serialization {
namespace {

namespace fs = std::filesystem;

template <auto Free>
struct freed_by {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};
using certificate_ptr = std::unique_ptr<X509, freed_by<X509_free>>;
using key_ptr = std::unique_ptr<EVP_PKEY, freed_by<EVP_PKEY_free>>;
using bio_ptr = std::unique_ptr<BIO, freed_by<BIO_free>>;

constexpr long authority_days = 3650, node_days = 825;
constexpr long seconds_per_day = 86400;

struct identity {
  key_ptr key;
  certificate_ptr certificate;
};

caf::error openssl_failed(const char* what) {
  return fail(ec::io_failed, std::string{"OpenSSL cannot "} + what);
}

// -- making -------------------------------------------------------------------------------------------------------------------

bool add_extension(X509* to, X509* issuer, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, to, nullptr, nullptr, 0);
  std::unique_ptr<X509_EXTENSION, freed_by<X509_EXTENSION_free>> extension{X509V3_EXT_conf_nid(nullptr, &context, kind, value)};
  return extension && X509_add_ext(to, extension.get(), -1) == 1;
}

bool set_random_serial(X509* to) {
  unsigned char bytes[16];
  if (RAND_bytes(bytes, sizeof bytes) != 1)
    return false;
  bytes[0] &= 0x7f; // positive
  std::unique_ptr<BIGNUM, freed_by<BN_free>> number{BN_bin2bn(bytes, sizeof bytes, nullptr)};
  return number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(to)) != nullptr;
}

/// Signed by `authority`; by itself if there is none.
std::optional<identity> make_identity(const std::string& name, const identity* authority) {
  identity made{key_ptr{EVP_EC_gen("P-256")}, certificate_ptr{X509_new()}};
  auto* c = made.certificate.get();
  auto* issuer = authority ? authority->certificate.get() : c;
  bool good = made.key && c && X509_set_version(c, 2) == 1 && set_random_serial(c)
              && X509_gmtime_adj(X509_getm_notBefore(c), -3600) // clocks differ a little
              && X509_gmtime_adj(X509_getm_notAfter(c), (authority ? node_days : authority_days) * seconds_per_day)
              && X509_set_pubkey(c, made.key.get()) == 1;
  auto* subject = good ? X509_get_subject_name(c) : nullptr;
  auto text = reinterpret_cast<const unsigned char*>(name.c_str());
  good = good && X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, text, -1, -1, 0) == 1
         && X509_set_issuer_name(c, X509_get_subject_name(issuer)) == 1
         && add_extension(c, issuer, NID_basic_constraints, authority ? "critical,CA:FALSE" : "critical,CA:TRUE,pathlen:0")
         && add_extension(c, issuer, NID_key_usage, authority ? "critical,digitalSignature" : "critical,keyCertSign,cRLSign")
         && add_extension(c, issuer, NID_subject_key_identifier, "hash");
  if (good && authority)
    good = add_extension(c, issuer, NID_ext_key_usage, "serverAuth,clientAuth")
           && add_extension(c, issuer, NID_authority_key_identifier, "keyid");
  auto* signing = authority ? authority->key.get() : made.key.get();
  if (!good || X509_sign(c, signing, EVP_sha256()) == 0)
    return std::nullopt;
  return made;
}

std::string text_in(BIO* memory) {
  char* data = nullptr;
  auto size = BIO_get_mem_data(memory, &data);
  return {data, static_cast<std::size_t>(size)};
}

caf::expected<void> write_certificate(const fs::path& file, X509* certificate) {
  bio_ptr memory{BIO_new(BIO_s_mem())};
  if (!memory || PEM_write_bio_X509(memory.get(), certificate) != 1)
    return openssl_failed("encode a certificate");
  return write_file(file, text_in(memory.get()));
}

/// Its folder is the owner's alone, so nobody else can read it at any moment.
caf::expected<void> write_key(const fs::path& file, EVP_PKEY* key) {
  bio_ptr memory{BIO_new(BIO_s_mem())};
  if (!memory || PEM_write_bio_PKCS8PrivateKey(memory.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return openssl_failed("encode a key");
  if (auto written = write_file(file, text_in(memory.get())); !written)
    return written;
  std::error_code problem;
  fs::permissions(file, fs::perms::owner_read | fs::perms::owner_write, problem);
  return problem ? fail(ec::io_failed, file.string() + ": " + problem.message()) : caf::expected<void>{caf::unit};
}

caf::expected<void> make_private_folder(const fs::path& folder) {
  std::error_code problem;
  if (fs::create_directories(folder, problem); !problem)
    fs::permissions(folder, fs::perms::owner_all, problem);
  return problem ? fail(ec::io_failed, folder.string() + ": " + problem.message()) : caf::expected<void>{caf::unit};
}

caf::expected<void> write_node(const fs::path& folder, const std::string& name, const identity& authority) {
  auto node = make_identity(name, &authority);
  if (!node)
    return openssl_failed("make a certificate");
  if (auto done = make_private_folder(folder); !done)
    return done;
  if (auto done = write_certificate(folder / "ca.pem", authority.certificate.get()); !done)
    return done;
  if (auto done = write_key(folder / "node.key", node->key.get()); !done)
    return done;
  return write_certificate(folder / "node.pem", node->certificate.get());
}

// -- reading ------------------------------------------------------------------------------------------------------------------

caf::expected<std::string> read_pem(const fs::path& file) {
  std::error_code ignored;
  if (!fs::exists(file, ignored))
    return fail(ec::bad_usage, file.string() + " is missing; enn cluster init makes it");
  if (::access(file.c_str(), R_OK) != 0)
    return fail(ec::bad_usage, file.string() + " cannot be read: " + std::strerror(errno));
  return read_file(file);
}

caf::expected<certificate_ptr> read_certificate(const fs::path& file) {
  auto text = read_pem(file);
  if (!text)
    return text.error();
  bio_ptr memory{BIO_new_mem_buf(text->data(), static_cast<int>(text->size()))};
  certificate_ptr found{PEM_read_bio_X509(memory.get(), nullptr, nullptr, nullptr)};
  if (!found)
    return fail(ec::bad_usage, file.string() + " holds no PEM certificate; enn cluster init makes one where none is");
  return found;
}

caf::expected<key_ptr> read_key(const fs::path& file) {
  auto text = read_pem(file);
  if (!text)
    return text.error();
  struct stat about {};
  if (::stat(file.c_str(), &about) == 0 && (about.st_mode & (S_IROTH | S_IWOTH)) != 0)
    return fail(ec::bad_usage, file.string() + " can be read by everybody; run: chmod 600 " + file.string());
  bio_ptr memory{BIO_new_mem_buf(text->data(), static_cast<int>(text->size()))};
  key_ptr found{PEM_read_bio_PrivateKey(memory.get(), nullptr, [](char*, int, int, void*) { return 0; }, nullptr)};
  if (!found)
    return fail(ec::bad_usage, file.string() + " holds no PEM key without a password");
  return found;
}

caf::expected<std::string> fingerprint(X509* certificate) {
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (X509_digest(certificate, EVP_sha256(), bytes, &size) != 1)
    return openssl_failed("hash a certificate");
  std::string text;
  constexpr char digits[] = "0123456789abcdef";
  for (unsigned i = 0; i < size; ++i)
    text += {digits[bytes[i] >> 4], digits[bytes[i] & 15]};
  return text;
}

/// Days until it ends; ec::bad_usage if it does not hold now.
caf::expected<std::int64_t> days_left(const fs::path& file, X509* certificate) {
  if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
    return fail(ec::bad_usage, file.string() + " is not valid yet; is the clock of this machine right?");
  if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
    return fail(ec::bad_usage, file.string() + " has expired; make a new cluster folder with enn cluster init, or if only this "
                                               "machine's certificate is old, remove its folder and run enn cluster init again");
  int days = 0, seconds = 0;
  ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notAfter(certificate));
  return days;
}

caf::expected<identity> load_authority(const fs::path& folder) {
  auto certificate = read_certificate(folder / "ca.pem");
  if (!certificate)
    return certificate.error();
  auto key = read_key(folder / "ca.key");
  if (!key)
    return fail(ec::bad_usage, text_of(key.error()) + "; without the key of its CA no machine can be added to a cluster");
  return identity{std::move(*key), std::move(*certificate)};
}

caf::expected<identity> make_authority(const fs::path& folder) {
  auto made = make_identity("ENN cluster CA", nullptr);
  if (!made)
    return openssl_failed("make a CA");
  if (auto done = make_private_folder(folder); !done)
    return done.error();
  if (auto done = write_key(folder / "ca.key", made->key.get()); !done)
    return done.error();
  if (auto done = write_certificate(folder / "ca.pem", made->certificate.get()); !done)
    return done.error();
  return std::move(*made);
}

} // namespace

caf::expected<credentials> load_credentials(const fs::path& folder) {
  credentials result{folder / "ca.pem", folder / "node.pem", folder / "node.key", {}, 0};
  auto authority = read_certificate(result.authority);
  if (!authority)
    return authority.error();
  auto own = read_certificate(result.certificate);
  if (!own)
    return own.error();
  auto key = read_key(result.key);
  if (!key)
    return key.error();
  if (X509_check_private_key(own->get(), key->get()) != 1)
    return fail(ec::bad_usage, result.key + " is not the key of " + result.certificate);
  if (X509_verify(own->get(), X509_get0_pubkey(authority->get())) != 1)
    return fail(ec::bad_usage, result.certificate + " was not signed by " + result.authority + "; copy both from one cluster folder");
  auto ca_days = days_left(result.authority, authority->get()), own_days = days_left(result.certificate, own->get());
  if (!ca_days)
    return ca_days.error();
  if (!own_days)
    return own_days.error();
  result.days_left = std::min(*ca_days, *own_days);
  auto id = fingerprint(authority->get());
  if (!id)
    return id.error();
  result.cluster = std::move(*id);
  return result;
}

caf::expected<credentials> make_credentials(const fs::path& folder) {
  auto authority = make_identity("ENN run CA", nullptr);
  if (!authority)
    return openssl_failed("make a CA");
  if (auto done = write_node(folder, "node", *authority); !done)
    return done.error();
  return load_credentials(folder);
}

caf::expected<cluster_files> init_cluster(const fs::path& folder, const std::vector<std::string>& names) {
  for (const auto& name : names)
    if (name.empty() || name.front() == '.' || name.find('/') != std::string::npos || name.starts_with("ca."))
      return fail(ec::bad_usage, "'" + name + "' cannot name a machine: expected a word without / that begins with no dot");
  cluster_files result;
  std::error_code ignored;
  result.new_authority = !fs::exists(folder / "ca.pem", ignored);
  if (result.new_authority && fs::exists(folder / "ca.key", ignored))
    return fail(ec::bad_usage, (folder / "ca.pem").string() + " is missing, but its key is there; bring it back or choose another folder");
  auto authority = result.new_authority ? make_authority(folder) : load_authority(folder);
  if (!authority)
    return authority.error();
  for (const auto& name : names) {
    if (fs::exists(folder / name / "node.pem", ignored)) {
      result.kept.push_back(name);
      continue;
    }
    if (auto done = write_node(folder / name, name, *authority); !done)
      return done.error();
    result.made.push_back(name);
  }
  return result;
}

} // namespace enn::serialization
