//! The lines of a cursor file: `length crc32 json`, so that a line that was not written whole is found.
//!
//! The length is that of the JSON in bytes, the checksum is in eight hexadecimal digits. The JSON has no line feeds.
//!
//! ```text
//! 41 8d3f0c1a {"handled":["r-8",1777550401000000000]}
//! ```

use std::io::{self, BufRead, BufReader, Read};

/// Longest line that is read, in bytes. A row's id has at most 256 bytes, and each may be escaped to six.
const MAX_LINE: u64 = 64 * 1024;

/// Appends a line with `json` to `out`.
pub(super) fn write_line(out: &mut Vec<u8>, json: &[u8]) {
    out.extend_from_slice(format!("{} {:08x} ", json.len(), crc32(json)).as_bytes());
    out.extend_from_slice(json);
    out.push(b'\n');
}

/// Reads lines up to the first bad one.
pub(super) struct LineReader<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    /// Length of the good lines in bytes.
    good: u64,
}

impl<R: Read> LineReader<R> {
    pub(super) fn new(input: R) -> Self {
        LineReader { input: BufReader::new(input), line: Vec::new(), good: 0 }
    }

    /// Returns the JSON of the next line, or `None` at the end, and at a line that is not whole or has another checksum.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        (&mut self.input).take(MAX_LINE).read_until(b'\n', &mut self.line)?;
        let json = parse_line(&self.line);
        if json.is_some() {
            self.good += self.line.len() as u64;
        }
        Ok(json)
    }

    /// Returns the length of the good lines in bytes.
    pub(super) fn good(&self) -> u64 {
        self.good
    }
}

/// Returns the JSON of a line, or `None` if the line is bad.
fn parse_line(line: &[u8]) -> Option<&[u8]> {
    let mut parts = line.strip_suffix(b"\n")?.splitn(3, |byte| *byte == b' ');
    let (length, checksum, json) = (parts.next()?, parts.next()?, parts.next()?);
    // Compared as text: one line has one spelling.
    let is_good = length == json.len().to_string().as_bytes() && checksum == format!("{:08x}", crc32(json)).as_bytes();
    is_good.then_some(json)
}

/// Returns the CRC-32 of ISO 3309, as gzip has it: <https://www.rfc-editor.org/rfc/rfc1952#section-8>.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8);
    !bytes.iter().fold(u32::MAX, step)
}

/// The remainder for each byte.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_that_of_gzip() {
        assert_eq!((crc32(b""), crc32(b"123456789")), (0, 0xcbf4_3926));
    }

    fn read(bytes: &[u8]) -> (Vec<String>, u64) {
        let (mut lines, mut reader) = (Vec::new(), LineReader::new(bytes));
        while let Some(json) = reader.next().unwrap() {
            lines.push(String::from_utf8(json.to_vec()).unwrap());
        }
        (lines, reader.good())
    }

    #[test]
    fn any_change_of_a_line_ends_the_reading_before_it() {
        let mut first = Vec::new();
        write_line(&mut first, br#"{"a": "b c"}"#);
        let mut all = first.clone();
        write_line(&mut all, b"{}");
        assert_eq!(read(&all), (vec![r#"{"a": "b c"}"#.to_owned(), "{}".to_owned()], all.len() as u64));
        let behind = first.len()..all.len();
        for at in behind {
            let only_first = (vec![r#"{"a": "b c"}"#.to_owned()], first.len() as u64);
            assert_eq!(read(&all[..at]), only_first, "cut at {at}");
            for bit in 0..8 {
                let mut flipped = all.clone();
                flipped[at] ^= 1 << bit;
                assert_eq!(read(&flipped), only_first, "bit {bit} of {at}");
            }
        }
    }

    #[test]
    fn line_without_an_end_takes_no_memory() {
        let endless = io::repeat(b'7').take(1 << 30);
        let mut reader = LineReader::new(endless);
        assert!(reader.next().unwrap().is_none() && reader.line.capacity() < 4 * MAX_LINE as usize);
    }
}
