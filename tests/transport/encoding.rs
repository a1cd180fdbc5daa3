//! Bodies with a `Content-Encoding`, which no request asks for.
//!
//! `ureq` decodes gzip if its feature for that is on, as it is if another crate of the program enables it: see
//! `.ci/features`. These tests hold with and without it.

use std::sync::LazyLock;

use a2a_blocking::{Error, ErrorKind, LookupSource};

use crate::support::{PEER, RECORD, Reaction, Server, builder, client};

/// Returns a body in the format of gzip, without compression: RFC 1952 and RFC 1951, section 3.2.4.
fn gzip(text: &[u8]) -> Vec<u8> {
    let crc = text.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    });
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let blocks: Vec<&[u8]> = text.chunks(0xffff).collect();
    for (n, block) in blocks.iter().enumerate() {
        let length = u16::try_from(block.len()).unwrap();
        out.push(u8::from(n + 1 == blocks.len()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(*block);
    }
    out.extend((!crc).to_le_bytes());
    out.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    out
}

/// An answer in each of the ways in which HTTP tells its length.
fn answers(status: u16, encoding: &str, body: &[u8]) -> [Reaction; 3] {
    let head = format!("HTTP/1.1 {status} X\r\nContent-Encoding: {encoding}\r\n");
    let sized = format!("{head}Content-Length: {}\r\n\r\n", body.len());
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len());
    [
        Reaction::Raw([sized.as_bytes(), body].concat()),
        Reaction::Raw([chunked.as_bytes(), body, b"\r\n0\r\n\r\n"].concat()),
        Reaction::Raw([format!("{head}Connection: close\r\n\r\n").as_bytes(), body].concat()),
    ]
}

/// True if `ureq` decodes gzip in this build.
static DECODES_GZIP: LazyLock<bool> = LazyLock::new(|| {
    let server = Server::play(answers(200, "gzip", &gzip(b"{}")));
    let mut response = ureq::get(server.url()).call().unwrap();
    response.body_mut().read_to_vec().unwrap() == b"{}"
});

fn is_refused(error: &Error, encoding: &str) -> bool {
    error.kind() == ErrorKind::Malformed
        && error.to_string().ends_with(&format!("has the encoding {encoding}, which was not asked for"))
}

#[test]
fn body_in_gzip_is_read_exactly_if_it_was_decoded() {
    println!("gzip is decoded: {}", *DECODES_GZIP);
    for answer in answers(200, "gzip", &gzip(RECORD.as_bytes())) {
        let shown = format!("{answer:?}");
        let server = Server::play([answer]);
        let (found, lookup) = (client(&server).discover(PEER), client(&server).lookup(PEER).source);
        if *DECODES_GZIP {
            assert_eq!((found.unwrap().name(), lookup), (Some("ops-agent"), LookupSource::Fetched), "{shown}");
        } else {
            assert!(is_refused(&found.unwrap_err(), "gzip") && lookup == LookupSource::Failed, "{shown}");
        }
    }
    let reply = br#"{"result":{"parts":[{"kind":"text","text":"hi"}]}}"#;
    for answer in answers(200, "gzip", &gzip(reply)) {
        match client(&Server::play([answer])).send(PEER, "x") {
            Ok(reply) => assert!(*DECODES_GZIP && reply.text() == "hi"),
            Err(error) => assert!(!*DECODES_GZIP && is_refused(&error, "gzip"), "{error}"),
        }
    }
    for answer in answers(200, "gzip", &gzip(format!("[{RECORD}]").as_bytes())) {
        assert_eq!(client(&Server::play([answer])).peers().map(|peers| peers.len()).ok(), DECODES_GZIP.then_some(1));
    }
    // The registry's own no.
    for answer in answers(404, "gzip", &gzip(br#"{"error":"workspace not found"}"#)) {
        let kind = client(&Server::play([answer])).discover(PEER).unwrap_err().kind();
        assert_eq!(kind, if *DECODES_GZIP { ErrorKind::NotFound } else { ErrorKind::Status });
    }
}

#[test]
fn body_that_cannot_be_decoded_is_refused_and_its_status_counts() {
    let whole = gzip(RECORD.as_bytes());
    for body in [&whole[..2], &whole[..whole.len() - 4], b"\x1f\x8b no gzip at all"] {
        for (encoding, status) in [("gzip", 200), ("br", 200), ("deflate", 200), ("GZIP", 200), ("gzip, br", 200)] {
            for answer in answers(status, encoding, body) {
                let shown = format!("{answer:?}");
                let server = Server::play([answer]);
                let error = client(&server).discover(PEER).unwrap_err();
                assert!(is_refused(&error, encoding) && error.status() == Some(200), "{shown}: {error}");
            }
        }
        for answer in answers(502, "gzip", body) {
            let server = Server::play([answer]);
            let error = client(&server).workspace().unwrap_err();
            assert_eq!((error.kind(), error.status()), (ErrorKind::Status, Some(502)), "{error}");
        }
    }
}

/// JSON that only claims to be encoded.
#[test]
fn plain_json_with_the_name_of_an_encoding_is_refused() {
    for encoding in ["gzip", "br", "deflate", "GZIP", "gzip, br", "zstd"] {
        for answer in answers(200, encoding, RECORD.as_bytes()) {
            let error = client(&Server::play([answer])).discover(PEER).unwrap_err();
            assert!(is_refused(&error, encoding), "{encoding}: {error:?}");
        }
    }
    for answer in answers(200, "identity", RECORD.as_bytes()) {
        client(&Server::play([answer])).discover(PEER).unwrap();
    }
}

/// The limit counts decoded bytes.
#[test]
fn decoded_body_above_the_limit_is_refused() {
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(300_000));
    for answer in answers(200, "gzip", &gzip(large.as_bytes())) {
        let error = client(&Server::play([answer])).discover(PEER).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    }
}

#[test]
fn connection_is_kept_after_a_body_that_was_decoded() {
    let body = gzip(RECORD.as_bytes());
    let server = Server::play([Reaction::reply(200, body).header("Content-Encoding", "gzip")]);
    let client = builder(&server).build().unwrap();
    assert_eq!([client.discover(PEER).is_ok(), client.discover(PEER).is_ok()], [*DECODES_GZIP; 2]);
    assert!(server.requests().iter().all(|request| request.connection == 0));
}
