//! Lines and bodies of requests and answers, <https://www.rfc-editor.org/rfc/rfc9112>.

use std::io::{self, BufRead, ErrorKind, Read};

/// The longest line, in bytes.
pub(super) const LONGEST_LINE: u64 = 64 << 10;

/// Reads a line, and leaves out white space at its end.
///
/// # Errors
///
/// The connection ends within the line, or the line is too long.
pub(super) fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    reader.take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// Reads `length` bytes, and gives them to `keep` piece by piece until that returns false. Returns whether it read all.
///
/// # Errors
///
/// The connection ends before that.
pub(super) fn read_sized(
    reader: &mut impl BufRead,
    length: usize,
    keep: &mut dyn FnMut(&[u8]) -> bool,
) -> io::Result<bool> {
    let mut left = length;
    while left > 0 {
        let piece = reader.fill_buf()?;
        let piece = &piece[..piece.len().min(left)];
        let count = piece.len();
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let goes_on = keep(piece);
        reader.consume(count);
        left -= count;
        if !goes_on {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads a chunked body (section 7.1) up to its last chunk. As [`read_sized`] otherwise.
///
/// # Errors
///
/// The connection ends before that, or a chunk's size is no number.
pub(super) fn read_chunks(reader: &mut impl BufRead, keep: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<bool> {
    loop {
        let line = read_line(reader)?;
        let size = usize::from_str_radix(line.split(';').next().unwrap_or("").trim(), 16);
        let size = size.map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
        if size == 0 {
            return Ok(true);
        }
        if !read_sized(reader, size, keep)? {
            return Ok(false);
        }
        read_line(reader)?;
    }
}

/// Adds what fits to a body of at most `limit` bytes. Returns whether all of it did.
pub(super) fn push_up_to(body: &mut Vec<u8>, piece: &[u8], limit: usize) -> bool {
    let kept = piece.len().min(limit.saturating_sub(body.len()));
    body.extend_from_slice(&piece[..kept]);
    kept == piece.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(text: &[u8], limit: usize) -> io::Result<(Vec<u8>, bool)> {
        let (mut reader, mut body) = (text, Vec::new());
        let whole = read_chunks(&mut reader, &mut |piece| push_up_to(&mut body, piece, limit))?;
        Ok((body, whole))
    }

    #[test]
    fn chunked_body_is_read_up_to_its_limit() {
        let text = b"1\r\n{\r\n2;x=y\r\n}}\r\n0\r\n\r\n";
        assert_eq!(chunks(text, 3).unwrap(), (b"{}}".to_vec(), true));
        assert_eq!(chunks(text, 2).unwrap(), (b"{}".to_vec(), false));
        for bad in ["", "2\r\n{", "x\r\n", "-1\r\n", "ffffffffffffffffff\r\n", "2\r\n{}", "2\r\n{}\r\n"] {
            assert!(chunks(bad.as_bytes(), 9).is_err(), "{bad}");
        }
    }
}
