/// Certificates and keys: who belongs to a cluster. A private certificate authority (CA) signs one certificate a machine; whoever
/// holds a key with a certificate of that CA is fully trusted by all others of the cluster, and nobody else is.
///
///     FOLDER/ca.pem  ca.key           the CA; its key stays where the cluster was made
///     FOLDER/NAME/   ca.pem  node.pem  node.key     all that the machine NAME needs
#pragma once
#include <enn/model/error.hpp>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

namespace enn::serialization {

/// What a process shows to others, and by what it judges them.
struct credentials {
  std::filesystem::path ca, certificate, key; // PEM
  std::string cluster;                        // SHA-256 of the CA's certificate, 64 hex digits: the identity of the cluster
  std::string subject;                        // of the certificate: the machine's name
  std::chrono::system_clock::time_point expires; // the earlier one of both certificates
};

/// When certificates hold, from now on. They begin a day ago, for machines whose clocks differ.
struct validity {
  std::chrono::seconds from = -std::chrono::hours{24}, to = std::chrono::hours{24 * 3650};
};

/// Reads and checks a machine's folder: the files are there and readable, the key by nobody else, it is the certificate's, the
/// certificate is the CA's, and neither is expired. Fails with ec::bad_usage, naming the file and what to do.
caf::expected<credentials> load_credentials(const std::filesystem::path& folder);

/// Makes a CA and one certificate for the processes of one run on one machine, in place of what was in the folder. The CA's key
/// is never written: nobody can join later with another certificate.
caf::expected<credentials> make_credentials(const std::filesystem::path& folder, validity when = {});

struct cluster_change {
  std::string cluster;                // its identity
  bool new_ca = false;
  std::vector<std::string> made, kept; // names of machines
};

/// Makes what is missing of a cluster: the CA, and a folder for each name. Never touches a key that is there.
caf::expected<cluster_change> make_cluster(const std::filesystem::path& folder, const std::vector<std::string>& names,
                                           validity when = {});

/// "expires in 12 days, ...", or nothing if there are more than thirty left.
std::string expiry_warning(const credentials& c);

} // namespace enn::serialization
