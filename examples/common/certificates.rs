//! Certificates of an authority of our own, in files of a folder that is removed at the end.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tower_introspection::clock::Timestamp;

use super::BoxError;

/// The files `ca.pem`, and `<name>.pem` and `<name>.key` of what it certifies.
pub(crate) struct Certificates {
    folder: Folder,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    pub(crate) fn new() -> Result<Self, BoxError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the authority of this example");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let folder = Folder::new()?;
        write(&folder.0.join("ca.pem"), &authority.pem())?;
        Ok(Self { folder, authority })
    }

    /// For a server at this address.
    pub(crate) fn certify_server(&self, address: SocketAddr) -> Result<(), BoxError> {
        self.certify("server", vec!["localhost".into(), "127.0.0.1".into(), address.ip().to_string()]).map(drop)
    }

    /// For a client of this name. Returns the certificate in DER.
    pub(crate) fn certify_client(&self, name: &str) -> Result<Vec<u8>, BoxError> {
        self.certify(name, vec![format!("{name}.example")])
    }

    fn certify(&self, name: &str, alternative_names: Vec<String>) -> Result<Vec<u8>, BoxError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(alternative_names)?;
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.authority)?;
        write(&self.file(name, "pem"), &certificate.pem())?;
        write(&self.file(name, "key"), &key.serialize_pem())?;
        Ok(certificate.der().to_vec())
    }

    pub(crate) fn file(&self, name: &str, extension: &str) -> PathBuf {
        self.folder.0.join(format!("{name}.{extension}"))
    }
}

/// Removed, with all that is in it, when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let name = format!("mutual-tls-{}-{}", std::process::id(), Timestamp::now().as_unix_millis());
        let path = std::env::temp_dir().join(name);
        let mut builder = DirBuilder::new();
        // It holds keys.
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        // If somebody else has made it, this fails.
        builder.create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} is left behind: {error}", self.0.display());
        }
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}
