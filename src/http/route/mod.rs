//! The route to the platform: the configured proxy, and the certificates that TLS trusts.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use ureq::Proxy;
use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;

use crate::config::CheckedSettings;
use crate::error::Error;

/// The proxy and the trusted certificates that all of a client's connections share.
#[derive(Clone)]
pub(super) struct Route {
    proxy: Option<Proxy>,
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    roots: ureq::tls::RootCerts,
}

impl Route {
    /// # Errors
    ///
    /// Root certificates that cannot be read. The proxy's URL was checked before.
    pub(super) fn new(checked: &CheckedSettings) -> Result<Self, Error> {
        #[cfg(not(any(feature = "rustls", feature = "native-tls")))]
        if checked.root_certificates.is_some() {
            let why = "a2a-blocking was built without TLS: turn on its feature rustls or native-tls";
            return Err(Error::config(format!("root_certificates: {why}")));
        }
        let proxy = checked.proxy.as_ref().map(|proxy| Proxy::new(proxy.expose()));
        Ok(Route {
            // ureq's error could show the proxy's password.
            proxy: proxy.transpose().map_err(|_| Error::config("proxy: it is no URL of a proxy"))?,
            #[cfg(any(feature = "rustls", feature = "native-tls"))]
            roots: roots(checked.root_certificates.as_deref())?,
        })
    }

    /// Returns a route without a proxy that trusts the build's own root certificates.
    #[cfg(any(test, fuzzing))]
    pub(super) fn direct() -> Result<Self, Error> {
        Ok(Route {
            proxy: None,
            #[cfg(any(feature = "rustls", feature = "native-tls"))]
            roots: roots(None)?,
        })
    }

    /// Sets the proxy and the TLS settings of a pool.
    pub(super) fn apply(&self, config: ConfigBuilder<AgentScope>) -> ConfigBuilder<AgentScope> {
        // Set in any case: by default ureq uses the environment's proxy, even for loopback.
        let config = config.proxy(self.proxy.clone());
        #[cfg(any(feature = "rustls", feature = "native-tls"))]
        let config = config.tls_config(self.tls());
        config
    }

    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    fn tls(&self) -> ureq::tls::TlsConfig {
        use ureq::tls::{TlsConfig, TlsProvider};

        let provider = if cfg!(feature = "rustls") { TlsProvider::Rustls } else { TlsProvider::NativeTls };
        TlsConfig::builder().provider(provider).root_certs(self.roots.clone()).build()
    }
}

/// Returns the certificates of a PEM text, or those that the build trusts by default.
#[cfg(any(feature = "rustls", feature = "native-tls"))]
fn roots(pem: Option<&str>) -> Result<ureq::tls::RootCerts, Error> {
    use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

    let Some(pem) = pem else {
        let system = !cfg!(feature = "rustls") || cfg!(feature = "platform-verifier");
        return Ok(if system { RootCerts::PlatformVerifier } else { RootCerts::WebPki });
    };
    let bad = |what: &str| {
        let takes = "it takes PEM text, -----BEGIN CERTIFICATE----- and so on";
        Error::config(format!("root_certificates: {what}; {takes}"))
    };
    let mut roots: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(pem.as_bytes()) {
        match item {
            Ok(PemItem::Certificate(certificate)) if is_der(certificate.der()) => roots.push(certificate),
            Ok(PemItem::Certificate(_)) => {
                return Err(bad(&format!("its certificate {} is damaged", roots.len() + 1)));
            }
            Ok(PemItem::PrivateKey(_)) => return Err(bad("it holds a private key, which does not belong there")),
            Ok(_) => {}
            Err(_) => return Err(bad(&format!("it is damaged after {} certificates", roots.len()))),
        }
    }
    if roots.is_empty() {
        return Err(bad("it holds no certificate"));
    }
    Ok(RootCerts::from(roots))
}

/// Returns whether the bytes are one DER sequence and nothing more. TLS libraries skip other bytes in silence.
#[cfg(any(feature = "rustls", feature = "native-tls"))]
fn is_der(bytes: &[u8]) -> bool {
    let (length, start) = match bytes {
        [0x30, short @ 0..=0x7f, ..] => (usize::from(*short), 2),
        [0x30, 0x82, high, low, ..] => (usize::from(u16::from_be_bytes([*high, *low])), 4),
        [0x30, 0x81, length, ..] => (usize::from(*length), 3),
        _ => return false,
    };
    bytes.len() == start + length
}
