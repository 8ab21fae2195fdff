#include <enn/actors/tls.hpp>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cerrno>
#include <string_view>
#include <sys/socket.h>
#include <system_error>

namespace enn::actors {
namespace {

constexpr std::string_view greeting = "enn 1\n"; // another protocol is another number

/// libssl's own sockets raise SIGPIPE, which is not this library's to ignore.
int send_quietly(BIO* socket, const char* bytes, int count) {
  BIO_clear_retry_flags(socket);
  auto sent = ::send(static_cast<int>(BIO_get_fd(socket, nullptr)), bytes, static_cast<std::size_t>(count), MSG_NOSIGNAL);
  if (sent <= 0 && BIO_sock_should_retry(static_cast<int>(sent)) != 0)
    BIO_set_retry_write(socket);
  return static_cast<int>(sent);
}

using method_ptr = std::unique_ptr<BIO_METHOD, decltype(&BIO_meth_free)>;

method_ptr make_quiet_socket() {
  const auto* usual = BIO_s_socket();
  method_ptr method{BIO_meth_new(BIO_TYPE_SOCKET, "socket without SIGPIPE"), BIO_meth_free};
  if (method) {
    BIO_meth_set_read(method.get(), BIO_meth_get_read(usual));
    BIO_meth_set_write(method.get(), send_quietly);
    BIO_meth_set_ctrl(method.get(), BIO_meth_get_ctrl(usual));
    BIO_meth_set_create(method.get(), BIO_meth_get_create(usual));
    BIO_meth_set_destroy(method.get(), BIO_meth_get_destroy(usual));
  }
  return method;
}

std::string reason_of(unsigned long code) {
  const char* text = ERR_reason_error_string(code);
  return text != nullptr ? text : "error " + std::to_string(code);
}

/// Alerts of the other side about our certificate.
bool is_refusal(int reason) {
  return reason == SSL_R_TLSV1_ALERT_UNKNOWN_CA || reason == SSL_R_SSLV3_ALERT_BAD_CERTIFICATE
         || reason == SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED || reason == SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN
         || reason == SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE || reason == SSL_R_TLSV1_ALERT_DECRYPT_ERROR
         || reason == SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED;
}

} // namespace

// -- session --------------------------------------------------------------------------------------------------------------------

void tls_session::release::operator()(ssl_st* session) const {
  SSL_free(session);
}

tls_step tls_session::step_of(int result) {
  if (result > 0)
    return tls_step::done;
  auto system = errno;
  switch (SSL_get_error(session_.get(), result)) {
    case SSL_ERROR_WANT_READ: return tls_step::wants_read;
    case SSL_ERROR_WANT_WRITE: return tls_step::wants_write;
    case SSL_ERROR_SSL: explain(); break;
    case SSL_ERROR_SYSCALL: problem_ = "the connection broke: " + std::generic_category().message(system); break;
    default: problem_ = "it closed the connection";
  }
  ERR_clear_error();
  return tls_step::failed;
}

void tls_session::explain() {
  auto code = ERR_peek_last_error();
  auto reason = ERR_GET_REASON(code);
  bool bad = reason == SSL_R_CERTIFICATE_VERIFY_FAILED;
  refused_ = bad || is_refusal(reason);
  if (bad)
    problem_ = std::string{"its certificate is not a good one of this cluster: "}
               + X509_verify_cert_error_string(SSL_get_verify_result(session_.get()));
  else if (refused_)
    problem_ = "it refuses this process's certificate: " + reason_of(code);
  else if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
    problem_ = "it closed the connection";
  else
    problem_ = "it does not speak TLS 1.3 as expected: " + reason_of(code);
}

tls_step tls_session::handshake() {
  auto* s = session_.get();
  ERR_clear_error();
  if (!shaken_) {
    if (auto step = step_of(SSL_do_handshake(s)); step != tls_step::done)
      return step;
    shaken_ = true;
  }
  if (SSL_is_server(s) != 0) {
    std::size_t count = 0;
    return write(greeting, count); // all of it or nothing
  }
  char heard[greeting.size()];
  while (greeted_ < greeting.size()) {
    std::size_t count = 0;
    if (auto step = read({heard, greeting.size() - greeted_}, count); step != tls_step::done)
      return step;
    if (greeting.substr(greeted_, count) != std::string_view{heard, count}) {
      problem_ = "it speaks another version of the protocol";
      refused_ = true;
      return tls_step::failed;
    }
    greeted_ += count;
  }
  return tls_step::done;
}

tls_step tls_session::read(std::span<char> into, std::size_t& count) {
  ERR_clear_error();
  count = 0;
  return step_of(SSL_read_ex(session_.get(), into.data(), into.size(), &count));
}

tls_step tls_session::write(std::span<const char> from, std::size_t& count) {
  ERR_clear_error();
  count = 0;
  return step_of(SSL_write_ex(session_.get(), from.data(), from.size(), &count));
}

std::size_t tls_session::pending() const {
  return static_cast<std::size_t>(SSL_pending(session_.get()));
}

// -- context --------------------------------------------------------------------------------------------------------------------

caf::expected<tls> tls::make(const serialization::credentials& c) {
  tls result;
  result.context_ = {SSL_CTX_new(TLS_method()), SSL_CTX_free};
  auto* context = result.context_.get();
  auto failed = [](const std::string& what) {
    auto reason = reason_of(ERR_peek_last_error());
    ERR_clear_error();
    return fail(ec::bad_usage, what + ": " + reason);
  };
  ERR_clear_error();
  if (context == nullptr || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1)
    return failed("TLS 1.3 is not to be had");
  if (SSL_CTX_use_certificate_file(context, c.certificate.c_str(), SSL_FILETYPE_PEM) != 1)
    return failed(c.certificate);
  if (SSL_CTX_use_PrivateKey_file(context, c.key.c_str(), SSL_FILETYPE_PEM) != 1)
    return failed(c.key);
  if (SSL_CTX_load_verify_file(context, c.authority.c_str()) != 1)
    return failed(c.authority);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_max_cert_list(context, 16 << 10); // what a stranger may send us as certificates
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0); // every connection shows its certificate
  return result;
}

caf::expected<tls_session> tls::session(int socket) const {
  static const auto quiet_socket = make_quiet_socket(); // never changes
  tls_session result;
  result.session_.reset(SSL_new(context_.get()));
  auto* stream = quiet_socket ? BIO_new(quiet_socket.get()) : nullptr;
  if (!result.session_ || stream == nullptr)
    return BIO_free(stream), fail(ec::io_failed, "out of memory for a TLS session");
  BIO_set_fd(stream, socket, BIO_NOCLOSE);
  SSL_set_bio(result.session_.get(), stream, stream);
  return result;
}

caf::expected<tls_session> tls::server(int socket) const {
  auto result = session(socket);
  if (result)
    SSL_set_accept_state(result->session_.get());
  return result;
}

caf::expected<tls_session> tls::client(int socket) const {
  auto result = session(socket);
  if (result)
    SSL_set_connect_state(result->session_.get());
  return result;
}

tls_thread_end::~tls_thread_end() {
  OPENSSL_thread_stop();
}

} // namespace enn::actors
