//! Files: those that are dropped into a workspace, and what its agent takes of them.

use serde_json::json;
use uuid::Uuid;

use super::answer::{AnswerBody, HttpAnswer};
use super::auth;
use super::entities::PendingUpload;
use super::feed;
use super::http::HttpRequest;
use super::row::{FeedRow, quote};
use super::state::{MOST, State};
use crate::util::random::new_id;
use crate::util::text::floor_char_boundary;

/// The longest name of a file, in bytes.
const LONGEST_NAME: usize = 100;
/// Bytes of all files that are kept. The oldest go first.
const MOST_BYTES: usize = 512 << 20;

/// A file of an upload.
pub(super) struct DroppedFile {
    pub(super) name: String,
    pub(super) mime_type: String,
    pub(super) content: Vec<u8>,
}

/// `POST /workspaces/:id/chat/uploads`
pub(super) fn upload_files(state: &mut State, request: &HttpRequest, id: &str) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let malformed = || HttpAnswer::error(400, "malformed multipart body");
    if request.is_too_large {
        return Err(malformed());
    }
    let content_type = request.header("content-type");
    let boundary = content_type.split_once("boundary=").map(|(_, rest)| rest.split(';').next().unwrap_or(rest));
    let boundary = boundary.map(|boundary| boundary.trim().trim_matches('"')).filter(|text| !text.is_empty());
    let files = boundary.and_then(|boundary| read_multipart(&request.body, boundary)).ok_or_else(malformed)?;
    if files.is_empty() {
        return Err(HttpAnswer::error(400, "no files"));
    }
    let files: Vec<String> = add_uploads(state, id, files);
    Ok(HttpAnswer::raw_json(200, &format!("{{\"files\":[{}]}}", files.join(","))))
}

/// Keeps files and writes their rows. Returns the JSON of each, in the order of the server's structure.
pub(super) fn add_uploads(state: &mut State, id: &str, files: Vec<DroppedFile>) -> Vec<String> {
    let (mut rows, mut answers) = (Vec::new(), Vec::new());
    for file in files {
        let file_id = new_id().to_string();
        let (name, size) = (clean_name(&file.name), file.content.len());
        let uri = format!("platform-pending:{id}/{file_id}");
        let (quoted_name, mime_type) = (quote(&name), quote(&file.mime_type));
        let mut row = FeedRow::new(id, "a2a_receive", "chat_upload_receive", format!("chat_upload_receive: {name}"));
        row.target_id = Some(id.to_owned());
        let body = format!(
            "{{\"uri\":\"{uri}\",\"name\":{quoted_name},\"size\":{size},\"file_id\":\"{file_id}\",\"mimeType\":{mime_type}}}"
        );
        row.request_body = Some(body.into());
        let attachment =
            format!("[{{\"kind\":\"file\",\"mime_type\":{mime_type},\"name\":{quoted_name},\"uri\":\"{uri}\"}}]");
        row.attachments = Some(attachment.into());
        rows.push(row);
        answers.push(format!("{{\"uri\":\"{uri}\",\"name\":{quoted_name},\"mimeType\":{mime_type},\"size\":{size}}}"));
        let (workspace, mime_type) = (id.to_owned(), file.mime_type);
        state
            .uploads
            .insert(file_id.clone(), PendingUpload { workspace, name, mime_type, content: file.content.into() });
        state.upload_order.push_back(file_id);
    }
    drop_old_uploads(state);
    feed::insert_together(state, rows);
    answers
}

fn drop_old_uploads(state: &mut State) {
    let mut bytes: usize = state.uploads.values().map(|upload| upload.content.len()).sum();
    while bytes > MOST_BYTES || state.uploads.len() > MOST {
        let Some(oldest) = state.upload_order.pop_front() else { return };
        bytes -= state.uploads.remove(&oldest).map_or(0, |upload| upload.content.len());
    }
}

fn pending_upload<'a>(state: &'a State, id: &str, file: &str, missing: &str) -> Result<&'a PendingUpload, HttpAnswer> {
    if Uuid::try_parse(file).is_err() {
        return Err(HttpAnswer::error(400, "invalid file_id"));
    }
    let found = state.uploads.get(&file.to_ascii_lowercase()).ok_or_else(|| HttpAnswer::error(404, missing))?;
    if found.workspace != id {
        return Err(HttpAnswer::error(404, "pending upload not found"));
    }
    Ok(found)
}

/// `GET /workspaces/:id/pending-uploads/:file_id/content`
pub(super) fn upload_content(
    state: &mut State,
    request: &HttpRequest,
    id: &str,
    file: &str,
) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    let upload = pending_upload(state, id, file, "pending upload not found or expired")?;
    let plain: String = upload.name.chars().filter(|c| !matches!(c, '"' | '\\')).collect();
    let encoded = percent_encoding::utf8_percent_encode(&upload.name, EXTENDED).to_string();
    let disposition = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}");
    let headers = vec![("Content-Type", upload.mime_type.clone()), ("Content-Disposition", disposition)];
    Ok(HttpAnswer { status: 200, headers, body: AnswerBody::Sized(upload.content.to_vec()) })
}

/// `POST /workspaces/:id/pending-uploads/:file_id/ack`. The content stays.
pub(super) fn ack_upload(
    state: &mut State,
    request: &HttpRequest,
    id: &str,
    file: &str,
) -> Result<HttpAnswer, HttpAnswer> {
    auth::check_workspace(state, request, id)?;
    pending_upload(state, id, file, "pending upload not found, expired, or already acked")?;
    Ok(HttpAnswer::ok(&json!({ "acked": true })))
}

/// The bytes that `filename*` encodes, <https://www.rfc-editor.org/rfc/rfc8187#section-3.2.1>.
const EXTENDED: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~');

/// Returns a file's name without its folders, with `_` for what is neither letter, digit, dot nor hyphen, cut in the middle.
fn clean_name(name: &str) -> String {
    let base = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let is_kept = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    let clean: String = base.chars().map(|c| if is_kept(c) { c } else { '_' }).collect();
    if clean.len() <= LONGEST_NAME {
        return if clean.is_empty() { "file".to_owned() } else { clean };
    }
    let extension = clean.rfind('.').map_or("", |at| clean.get(at..).unwrap_or(""));
    let extension = if extension.len() < LONGEST_NAME / 2 { extension } else { "" };
    let cut = floor_char_boundary(&clean, LONGEST_NAME - extension.len());
    clean.get(..cut).unwrap_or("").to_owned() + extension
}

/// Reads the files of a multipart body, <https://www.rfc-editor.org/rfc/rfc7578>.
fn read_multipart(body: &[u8], boundary: &str) -> Option<Vec<DroppedFile>> {
    let (delimiter, mut files) = (format!("--{boundary}").into_bytes(), Vec::new());
    let mut rest = body.get(find(body, &delimiter)? + delimiter.len()..)?;
    let between = [b"\r\n", delimiter.as_slice()].concat();
    loop {
        if rest.starts_with(b"--") {
            return Some(files);
        }
        rest = rest.strip_prefix(b"\r\n")?;
        let head = find(rest, b"\r\n\r\n")?;
        let content = rest.get(head + 4..)?;
        let end = find(content, &between)?;
        let head = String::from_utf8_lossy(rest.get(..head)?).into_owned();
        let header = |name: &str| {
            let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
            let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
            found.next().map(|(_, value)| value.trim().to_owned())
        };
        let disposition = header("content-disposition").unwrap_or_default();
        if let Some(name) = parameter(&disposition, "filename") {
            let mime_type = header("content-type").unwrap_or("application/octet-stream".to_owned());
            files.push(DroppedFile { name, mime_type, content: content.get(..end)?.to_vec() });
        }
        rest = content.get(end + between.len()..)?;
    }
}

/// Returns a quoted parameter of a header.
fn parameter(header: &str, name: &str) -> Option<String> {
    let (_, rest) = header.split_once(&format!("{name}=\""))?;
    let (mut out, mut chars) = (String::new(), rest.chars());
    loop {
        match chars.next()? {
            '"' => return Some(out),
            '\\' => out.push(chars.next()?),
            c => out.push(c),
        }
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    let first = *what.first()?;
    let mut from = 0;
    while let Some(at) = text.get(from..)?.iter().position(|byte| *byte == first) {
        if text.get(from + at..)?.starts_with(what) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_and_cut() {
        assert_eq!(clean_name("../../etc/pa sswd"), "pa_sswd");
        assert_eq!(clean_name(&("x".repeat(400) + ".txt")), "x".repeat(96) + ".txt");
        assert_eq!(clean_name(""), "file");
    }

    #[test]
    fn malformed_multipart_body_is_refused() {
        let part = "--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a\\\"b\"\r\n\r\nxy\r\n--b--\r\n";
        let files = read_multipart(part.as_bytes(), "b").unwrap();
        assert_eq!((files[0].name.as_str(), files[0].content.as_slice()), ("a\"b", &b"xy"[..]));
        for cut in 0..part.len() - 4 {
            assert!(read_multipart(&part.as_bytes()[..cut], "b").is_none(), "{cut}");
        }
    }
}
