/// Certificates of a cluster: who holds one signed by its CA belongs to it, is fully trusted by all others, and nobody else is.
/// PEM files, made and checked with libcrypto.
///
///     FOLDER/ca.pem, ca.key          the CA; the key makes more certificates and is needed for nothing else
///     FOLDER/NAME/ca.pem, node.pem, node.key    what one machine needs
#pragma once
#include <enn/model/error.hpp>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

namespace enn::serialization {

struct credentials {
  std::string authority, certificate, key; // files
  std::string cluster;                     // SHA-256 of the CA's certificate, in hexadecimal
  std::int64_t days_left = 0;              // of the certificate or the CA, whichever ends first
};

/// When a machine's certificate holds, from now on. It begins a day ago, for clocks that differ. A CA's lasts ten years.
struct validity {
  std::chrono::seconds from = -std::chrono::hours{24}, to = std::chrono::hours{24 * 825};
};

/// Of a folder with ca.pem, node.pem and node.key. ec::bad_usage naming the file and what to do: missing, unreadable, a key that
/// others may read or that is not the certificate's, another CA, not valid at this time.
caf::expected<credentials> load_credentials(const std::filesystem::path& folder);

/// A new CA and a certificate, for processes of one machine, in place of those that were there. The CA's key is never written.
caf::expected<credentials> make_credentials(const std::filesystem::path& folder);

struct cluster_files {
  std::string cluster; // as in credentials
  bool new_authority = false;
  std::vector<std::string> made, kept; // names of machines
};
/// The CA of a cluster, unless the folder has it, and a folder for each machine that has none, all of it or nothing. No key is
/// overwritten. ec::bad_usage: a name cannot be a folder's, the CA's key is gone, what is there is of no use. ec::io_failed.
caf::expected<cluster_files> init_cluster(const std::filesystem::path& folder, const std::vector<std::string>& names,
                                          validity when = {});

} // namespace enn::serialization
