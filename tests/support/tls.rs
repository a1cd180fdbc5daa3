//! A certificate authority for tests, and servers with its certificates. It is a separate module, because not every
//! test binary needs a TLS library.
#![allow(unreachable_pub, dead_code, reason = "a module of each test binary, which uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot be set up fails")]

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use base64::Engine;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::{Request, Server, read_request};

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Vec<u8>,
}

impl Authority {
    pub fn new() -> Authority {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Each has its own name, as real ones do.
        params.distinguished_name.push(DnType::CommonName, format!("authority {}", NEXT.fetch_add(1, SeqCst)));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    pub fn pem(&self) -> String {
        let base64 = base64::engine::general_purpose::STANDARD.encode(&self.certificate);
        let lines: String = base64.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + "\n").collect();
        format!("-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n")
    }

    /// Returns a server's configuration with a certificate for `localhost`.
    pub fn certify(&self) -> Arc<ServerConfig> {
        self.certify_as("localhost", |_| {})
    }

    pub fn certify_as(&self, host: &str, change: impl FnOnce(&mut CertificateParams)) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        config(certificate.der().clone(), &key)
    }
}

/// Returns a server's configuration with a self-signed certificate.
pub fn self_signed() -> Arc<ServerConfig> {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    config(certified.cert.der().clone(), &certified.signing_key)
}

fn config(certificate: CertificateDer<'static>, key: &KeyPair) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap())
}

/// The bytes that a server has decrypted.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<u8>>>);

impl Seen {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// The server's side of a TLS connection.
pub struct Tls {
    stream: StreamOwned<ServerConnection, TcpStream>,
    seen: Seen,
}

impl Read for Tls {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.stream.read(buffer)?;
        self.seen.0.lock().unwrap().extend_from_slice(&buffer[..n]);
        Ok(n)
    }
}

impl Tls {
    pub fn new(config: Arc<ServerConfig>, stream: TcpStream, seen: &Seen) -> Tls {
        stream.set_nodelay(true).unwrap();
        Tls { stream: StreamOwned::new(ServerConnection::new(config).unwrap(), stream), seen: seen.clone() }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        // The client may have closed the connection.
        let _ = self.stream.write_all(bytes);
        let _ = self.stream.flush();
    }

    /// Sends TLS's closing alert.
    pub fn close(&mut self) {
        self.stream.conn.send_close_notify();
        let _ = self.stream.flush();
    }
}

/// Starts a TLS server that answers each request with these bytes. Returns it with the bytes that it decrypts. It
/// closes a connection after the answer, with or without TLS's closing alert.
pub fn answering(
    config: Arc<ServerConfig>,
    notify: bool,
    answer: impl Fn(Request) -> Vec<u8> + Send + Sync + 'static,
) -> (Server, Seen) {
    let seen = Seen::default();
    let all = seen.clone();
    let server = Server::raw(move |n, stream| {
        let mut tls = Tls::new(config.clone(), stream, &all);
        let Some(request) = read_request(&mut BufReader::new(&mut tls), n) else { return };
        tls.write(&answer(request));
        if notify {
            tls.close();
        }
    });
    (server, seen)
}

/// Returns the server's address as an https URL.
pub fn https(server: &Server) -> String {
    server.url().replace("http://127.0.0.1", "https://localhost")
}
